// The search language of the graph view (edgestudio/model/query.py), for pages that have no studio at hand.
// `understand(text)` gives { isPlain, fits(node) } or throws { message, hint }. A node is
// { op, name, scope, domain, macs, params, bytes, attributes: [[name, text, numbers]], inputs, outputs },
// where a tensor is [name, type, sizes or null].
"use strict";
const COMPARE = {
  ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b,
  "=": (a, b) => a === b, "==": (a, b) => a === b, "!=": (a, b) => a !== b,
};
const SHORT = {
  k: "kernel_shape", kernel: "kernel_shape", s: "strides", stride: "strides", d: "dilations", dilation: "dilations",
  p: "pads", pad: "pads", g: "group", axis: "axis",
};
const KEYS = ["op", "name", "scope", "domain", "tensor", "input", "output", "shape", "outshape", "dtype", "attr"];
const MEASURES = ["macs", "params", "bytes", "inputs", "outputs", "rank"];
const COMPARED = /^([A-Za-z_][\w.]*)(>=|<=|!=|==|=|>|<)([^]*)$/, NUMBER = /^-?\d+(\.\d*)?([eE][+-]?\d+)?[kKmMgG]?$/;

function fail(message, hint) { throw { message: message, hint: hint }; }
function unquoted(text) { return text.replace(/"/g, ""); }

function pattern(text, isWhole) {
  const wanted = text.toLowerCase();
  if (/[*?]/.test(wanted)) {
    const source = wanted.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, "[^]*").replace(/\?/g, "[^]");
    const expression = new RegExp("^" + source + "$");
    return candidate => expression.test(candidate.toLowerCase());
  }
  return isWhole ? candidate => candidate.toLowerCase() === wanted : candidate => candidate.toLowerCase().includes(wanted);
}

function number(text) {
  const trimmed = text.trim();
  if (!NUMBER.test(trimmed)) fail("A number was expected, not " + (trimmed ? "“" + trimmed + "”" : "nothing") + ".", "Write k>3, macs>1e6 or params>=10k.");
  const factor = { k: 1e3, m: 1e6, g: 1e9 }[trimmed.slice(-1).toLowerCase()];
  return factor ? parseFloat(trimmed.slice(0, -1)) * factor : parseFloat(trimmed);
}

function sizeFits(size, wanted) {
  if (wanted === "?") return true;
  if ("<>=".includes(wanted[0])) {
    const sign = wanted.replace(/\d+$/, "");
    return typeof size === "number" && COMPARE[sign](size, parseInt(wanted.slice(sign.length), 10));
  }
  return String(size).toLowerCase() === wanted.toLowerCase();
}

function shapeFits(sizes, wanted) {
  if (!wanted.length) return !sizes.length;
  if (wanted[0] === "*") {
    for (let skip = 0; skip <= sizes.length; skip++) if (shapeFits(sizes.slice(skip), wanted.slice(1))) return true;
    return false;
  }
  return sizes.length > 0 && sizeFits(sizes[0], wanted[0]) && shapeFits(sizes.slice(1), wanted.slice(1));
}

function shapeTest(text, tensors) {
  const wanted = text.replace(/^[[\]()]+|[[\]()]+$/g, "").split(/[,x×]/).map(part => part.trim());
  if (!wanted.every(part => /^(\*|\?|[<>]?=?\d+|[A-Za-z_]\w*)$/.test(part)))
    fail("“" + text + "” is not a shape.", "Write sizes with commas: shape:1,64,*; * is any sizes, ? is one, >100 compares.");
  return node => tensors(node).some(tensor => tensor[2] !== null && shapeFits(tensor[2], wanted));
}

function attributeNumber(name, sign, wanted) {
  return node => {
    const found = node.attributes.find(each => each[0].toLowerCase() === name.toLowerCase());
    return found !== undefined && found[2].some(value => COMPARE[sign](value, wanted));
  };
}

function attributeTest(value) {
  const compared = COMPARED.exec(value);
  if (!compared) { const has = pattern(unquoted(value), true); return node => node.attributes.some(each => has(each[0])); }
  const name = compared[1], sign = compared[2], wanted = compared[3];
  if (["=", "==", "!="].includes(sign) && !NUMBER.test(wanted.trim())) {
    const text = pattern(unquoted(wanted), true);
    return node => node.attributes.some(each => each[0].toLowerCase() === name.toLowerCase() && text(each[1]) === (sign !== "!="));
  }
  return attributeNumber(name, sign, number(wanted));
}

function keyed(key, value) {
  if (!KEYS.includes(key)) fail("“" + key + ":” is not something to search by.", "Use one of " + KEYS.map(k => k + ":").join(", ") + ", or put the text in quotes.");
  if (!unquoted(value)) fail("Nothing follows “" + key + ":”.", "For example op:Conv, shape:*,64,* or attr:group>1.");
  const all = node => node.inputs.concat(node.outputs);
  if (key === "attr") return attributeTest(value);
  if (key === "shape") return shapeTest(unquoted(value), all);
  if (key === "outshape") return shapeTest(unquoted(value), node => node.outputs);
  const matches = pattern(unquoted(value), ["op", "dtype", "domain"].includes(key));
  if (key === "domain") return node => matches(node.domain || "ai.onnx");
  if (["op", "name", "scope"].includes(key)) return node => matches(node[key]);
  if (key === "dtype") return node => all(node).some(tensor => matches(tensor[1]));
  const tensors = { input: node => node.inputs, output: node => node.outputs, tensor: all }[key];
  return node => tensors(node).some(tensor => matches(tensor[0]));
}

function measured(name, sign, wanted) {
  if (SHORT[name]) return attributeNumber(SHORT[name], sign, wanted);
  if (!MEASURES.includes(name)) fail("“" + name + "” is not a number of a node.", "Compare one of " + MEASURES.concat(["k", "s", "d", "p", "g"]).join(", ") + ", or write attr:" + name + sign + "…");
  const value = node => {
    if (name === "inputs" || name === "outputs") return node[name].length;
    if (name === "rank") return node.outputs.length && node.outputs[0][2] !== null ? node.outputs[0][2].length : null;
    return node[name];
  };
  return node => { const found = value(node); return found !== null && COMPARE[sign](found, wanted); };
}

function term(piece) {
  if (piece[0] === "-" && piece.length > 1) { const inner = term(piece.slice(1)); return node => !inner(node); }
  const colon = piece.indexOf(":");
  if (colon > 0 && /^[A-Za-z_]+$/.test(piece.slice(0, colon))) return keyed(piece.slice(0, colon).toLowerCase(), piece.slice(colon + 1));
  const compared = COMPARED.exec(piece);
  if (compared) return measured(compared[1].toLowerCase(), compared[2], number(compared[3]));
  const matches = pattern(unquoted(piece), false);
  return node => matches(node.name) || matches(node.op);
}

function understand(text) {
  if ((text.match(/"/g) || []).length % 2) fail("A quote is opened and never closed.", 'Write name:"two words".');
  const pieces = text.match(/\||(?:[^\s|"]|"[^"]*")+/g) || [], alternatives = [[]];
  let isPlain = true;
  for (const piece of pieces) {
    if (piece === "|") {
      if (!alternatives[alternatives.length - 1].length) fail("Nothing stands before “|”.", "Write two searches around it, such as op:Conv | op:Gemm.");
      alternatives.push([]);
    } else {
      alternatives[alternatives.length - 1].push(term(piece));
      isPlain = isPlain && !/^-|:/.test(piece) && !COMPARED.test(piece);
    }
  }
  if (alternatives.length > 1 && !alternatives[alternatives.length - 1].length) fail("Nothing stands after “|”.", "Write two searches around it, such as op:Conv | op:Gemm.");
  return { isPlain: isPlain, fits: node => alternatives.some(tests => tests.every(test => test(node))) };
}
