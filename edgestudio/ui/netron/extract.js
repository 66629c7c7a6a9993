// Runs in Netron's page once a model is read: gives all graphs as plain data, without weights.
(function () {
  const view = window.__view__;
  const message = document.getElementById('message-text');
  const classes = document.body.className;
  // A page that has gone back to its welcome does not know the file's suffix; it passes through it while starting.
  const idle = view && classes.split(' ').includes('welcome') && !classes.includes('spinner');
  window.__idle__ = idle ? (window.__idle__ || 0) + 1 : 0;
  if (!window.__read__ && window.__idle__ > 20) {
    return JSON.stringify({ state: 'failed', message: 'its suffix belongs to no format that Netron knows' });
  }
  if (!window.__read__ && !(classes.includes('notification') || classes.includes('alert'))) {
    return JSON.stringify({ state: 'reading' });
  }
  if (!view || !view.model) {
    return JSON.stringify({ state: 'failed', message: message ? message.innerText : '' });
  }
  const text = (value) => (value === null || value === undefined ? '' : String(value));
  const plain = (value, depth) => {
    if (typeof value === 'bigint') { return Number(value); }
    if (value === null || ['number', 'string', 'boolean'].includes(typeof value)) { return value; }
    if (Array.isArray(value) && depth < 3) { return value.slice(0, 256).map((item) => plain(item, depth + 1)); }
    return text(value && value.name ? value.name : value).slice(0, 1000);
  };
  const shape = (type) => {
    const dimensions = type && type.shape && type.shape.dimensions;
    return Array.isArray(dimensions) ? dimensions.map((d) => (typeof d === 'bigint' ? Number(d) : d)) : null;
  };
  const graphs = [];
  const listed = (target) => {
    const tensors = [];
    const index = new Map();
    const tensor = (value, kind) => {
      const key = value.name ? value.name : value;
      if (!index.has(key)) {
        index.set(key, tensors.length);
        tensors.push({ name: text(value.name), dtype: '', shape: null, kind });
      }
      const entry = tensors[index.get(key)];
      const type = value.type || (value.initializer && value.initializer.type);
      if (type && !entry.dtype) {
        entry.dtype = text(type.dataType);
        entry.shape = shape(type);
      }
      if (value.initializer) { entry.kind = 'constant'; }
      return index.get(key);
    };
    const values = (arguments_) => (arguments_ || []).flatMap((argument) =>
      (Array.isArray(argument.value) ? argument.value : [argument.value]).filter((v) => v && typeof v === 'object' && 'name' in v));
    const inputs = values(target.inputs).map((value) => tensor(value, 'input'));
    const nodes = (target.nodes || []).map((node) => ({
      name: text(node.name || node.identifier),
      op: text(node.type && node.type.name),
      domain: text(node.type && node.type.module),
      inputs: values(node.inputs).map((value) => tensor(value, 'activation')),
      outputs: values(node.outputs).map((value) => tensor(value, 'activation')),
      attributes: Object.fromEntries((node.attributes || []).map((a) => [text(a.name), plain(a.value, 0)]))
    }));
    const outputs = values(target.outputs).map((value) => tensor(value, 'output'));
    graphs.push({ name: text(target.name), inputs, outputs, nodes, tensors });
  };
  for (const target of [...(view.model.modules || []), ...(view.model.functions || [])]) {
    if (target && Array.isArray(target.nodes)) { listed(target); }
  }
  const metadata = (view.model.metadata || []).map((entry) => [text(entry.name), text(entry.value)]);
  return JSON.stringify({
    state: 'done', format: text(view.model.format), producer: text(view.model.producer),
    version: text(view.model.version), metadata: Object.fromEntries(metadata), graphs
  });
})();
