"""Turns a Keras model's configuration into graphs: one node a layer call, nested models as graphs of their own."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.formats.hdf5 import StoredArray
from edgestudio.model.formats.keras_shapes import output_shape
from edgestudio.model.graph import Dimension, Graph, Node
from edgestudio.wire.errors import ModelError

_MODELS = {"Functional", "Sequential", "Model"}
_QUIET = re.compile(
    r"(_initializer|_regularizer|_constraint)$|^(name|trainable|dtype|batch_input_shape|function|layer|config)$"
)
_KERNEL_ORDER = ("depthwise_kernel", "pointwise_kernel", "kernel", "embeddings", "recurrent_kernel")
Shape = tuple[Dimension, ...] | None


class KerasGraphs:
    """The graphs of one file; `graphs[0]` is the model itself."""

    def __init__(self, stored: Sequence[StoredArray]) -> None:
        self.graphs: list[Graph] = []
        self.warnings: list[str] = []
        self.layer_count = 0
        self.places: dict[str, StoredArray] = {}
        """The stored array of each weight, by the weight's name."""
        self._stored = sorted(stored, key=lambda array: array.path)
        self._paths = [array.path for array in self._stored]
        self._order = {array.path: position for position, array in enumerate(stored)}

    def read(self, document: Mapping[str, Any]) -> None:
        """Add the graph of a model's configuration, nested models after it."""
        self._model(document, "", 0)

    def _model(self, document: Mapping[str, Any], prefix: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ModelError(
                "The model is nested too deeply.", hint="Do not use this file.", code="hostile-model"
            )
        index = len(self.graphs)
        self.graphs.append(Graph("", (), (), (), ()))
        config = document.get("config")
        config = {"layers": config} if isinstance(config, list) else config
        if not isinstance(config, dict):
            config = {}
        name = str(config.get("name") or document.get("class_name"))
        builder = GraphBuilder(name)
        layers = [layer for layer in config.get("layers") or () if isinstance(layer, dict)]
        paths = _weight_paths(layers, prefix)
        is_functional = "input_layers" in config
        if not layers:
            self.warnings.append(
                f"{document.get('class_name')} is a class of its own: its layers are Python code and not in the file"
            )
        if is_functional:
            inputs, outputs = self._functional(builder, config, layers, paths, depth)
        else:
            inputs, outputs = self._sequential(builder, config, layers, paths, depth)
        for tensor in outputs:
            if builder.kinds[tensor] == "activation":
                builder.kinds[tensor] = "output"
        self.graphs[index] = builder.finish(inputs, outputs)
        self.warnings += builder.warnings
        return index

    def _sequential(
        self,
        builder: GraphBuilder,
        config: dict[str, Any],
        layers: list[dict[str, Any]],
        paths: list[str],
        depth: int,
    ) -> tuple[list[int], list[int]]:
        current = -1
        inputs: list[int] = []
        for layer, path in zip(layers, paths, strict=True):
            given = _input_shape(layer) or (_shape(config.get("build_input_shape")) if current < 0 else None)
            is_input = layer.get("class_name") == "InputLayer"
            if current < 0:
                current = builder.add(_name(layer) if is_input else "input", _dtype(layer), given, "input")
                inputs.append(current)
            if is_input:
                self.layer_count += 1
                continue
            outs = self._call(builder, layer, path, [current], _name(layer), depth)
            current = outs[0]
        return inputs, [current] if current >= 0 else []

    def _functional(
        self,
        builder: GraphBuilder,
        config: dict[str, Any],
        layers: list[dict[str, Any]],
        paths: list[str],
        depth: int,
    ) -> tuple[list[int], list[int]]:
        inputs: dict[str, int] = {}
        pending: list[tuple[dict[str, Any], str, int, Any]] = []
        for layer, path in zip(layers, paths, strict=True):
            name = _name(layer)
            calls = layer.get("inbound_nodes") or []
            if layer.get("class_name") == "InputLayer" or not calls:
                self.layer_count += layer.get("class_name") == "InputLayer"
                index = builder.find((name, 0, 0), name)
                builder.describe(index, _dtype(layer), _input_shape(layer), "input")
                inputs[name] = index
                continue
            pending += [(layer, path, position, call) for position, call in enumerate(calls)]
        self._run(builder, pending, depth, _first_calls(config, layers))
        wanted = [_reference(item) for item in _references(config.get("input_layers"))]
        ordered = [inputs[name] for name, *_ in wanted if name in inputs] or list(inputs.values())
        outputs = [
            builder.keys[key]
            for item in _references(config.get("output_layers"))
            if (key := _reference(item)) in builder.keys
        ]
        return ordered, outputs

    def _run(
        self,
        builder: GraphBuilder,
        pending: list[tuple[dict[str, Any], str, int, Any]],
        depth: int,
        firsts: Mapping[str, int],
    ) -> None:
        """Add calls as their inputs become known; a file lists layers in no order to rely on."""
        while pending:
            waiting = []
            for layer, path, position, call in pending:
                sources = list(_sources(call))
                if any(_reference(source) not in builder.keys for source in sources):
                    waiting.append((layer, path, position, call))
                    continue
                name = _name(layer)
                shown = name if position == 0 else f"{name} #{position + 1}"
                indices = []
                for source in sources:
                    index = builder.keys[_reference(source)]
                    if isinstance(source, dict) and builder.shapes[index] is None:
                        builder.describe(index, str(source.get("dtype") or ""), _shape(source.get("shape")))
                    indices.append(index)
                outs = self._call(builder, layer, path, indices, shown, depth)
                for slot, index in enumerate(outs):
                    builder.keys[(name, position + firsts.get(name, 0), slot)] = index
            if len(waiting) == len(pending):
                names = ", ".join(_name(layer) for layer, *_ in waiting[:3])
                self.warnings.append(
                    f"{len(waiting)} layers are connected to nothing that is in the file: {names}"
                )
                return
            pending = waiting

    def _call(
        self,
        builder: GraphBuilder,
        layer: dict[str, Any],
        path: str,
        inputs: list[int],
        shown: str,
        depth: int,
    ) -> list[int]:
        self.layer_count += 1
        op = str(layer.get("class_name") or "Layer")
        config = layer.get("config")
        config = config if isinstance(config, dict) else {}
        subgraphs: tuple[int, ...] = ()
        attributes = {key: _plain(value) for key, value in config.items() if not _QUIET.search(key)}
        self._remark(op, layer, shown, attributes)
        shapes = [builder.shapes[index] for index in inputs]
        weights: list[int] = []
        if op in _MODELS and (config.get("layers") or isinstance(layer.get("config"), list)):
            nested = self._model(layer, f"{path}/", depth + 1)
            subgraphs = (nested,)
            attributes = {}
            shape: Shape = None
            graph = self.graphs[nested]
            if graph.outputs:
                shape = graph.tensors[graph.outputs[0]].shape
        else:
            weights = self._layer_weights(builder, path, _name(layer))
            inner = config.get("layer")
            if isinstance(inner, dict):
                attributes["layer"] = str(inner.get("class_name"))
                attributes.update(
                    {k: _plain(v) for k, v in (inner.get("config") or {}).items() if not _QUIET.search(k)}
                )
            shape = output_shape(op, attributes, shapes, [builder.shapes[index] for index in weights])
        dtype = builder.dtypes[inputs[0]] if inputs else "float32"
        out = builder.add(shown, "float32" if op == "Embedding" else dtype, shape)
        builder.nodes.append(
            Node(shown, op, (*inputs, *weights), (out,), attributes, "", shown.rpartition("/")[0], subgraphs)
        )
        return [out]

    def _remark(self, op: str, layer: dict[str, Any], shown: str, attributes: dict[str, Any]) -> None:
        if op in ("Lambda", "TFOpLambda", "SlicingOpLambda"):
            if op == "Lambda":
                attributes["contains"] = "Python code (not run)"
                self.warnings.append(f"layer {shown} contains Python code (Lambda); it is shown, never run")
            return
        module = layer.get("module")
        if isinstance(module, str) and layer.get("registered_name") and not module.startswith("keras"):
            attributes["module"] = module
            self.warnings.append(
                f"layer {shown} is of a class of its own ({module}.{op}), which is not in the file"
            )

    def _layer_weights(self, builder: GraphBuilder, path: str, name: str) -> list[int]:
        found = (
            self._below(f"{path}/")
            or self._below(f"{path.rpartition('/')[0]}/{name}/")
            or self._below(f"{name}/")
            or (self._inside(name) if path.count("layers/") > 1 else [])
        )
        found.sort(key=lambda array: _rank(array.path, self._order[array.path]))
        indices = []
        for array in found:
            index = builder.keys.get(array.path)
            if index is None:
                shown = self._weight_name(name, array)
                index = builder.add(shown, array.dtype, array.shape, "constant", array.size_bytes)
                builder.keys[array.path] = index
            indices.append(index)
        return indices

    def _weight_name(self, layer: str, array: StoredArray) -> str:
        """The layer's name and the weight's own, or as much of its path as no other weight has."""
        parts = array.path.split("/")
        for count in range(1, len(parts) + 1):
            name = f"{layer}/{'/'.join(parts[-count:])}"
            if self.places.setdefault(name, array) is array:
                return name
        return array.path

    def _inside(self, name: str) -> list[StoredArray]:
        """The arrays of a nested model's layer in `.h5` of Keras 3, behind the names of the models around it."""
        return [array for array in self._stored if f"/{name}/" in array.path]

    def _below(self, prefix: str) -> list[StoredArray]:
        """The arrays whose path starts with the prefix, states of random generators left out."""
        start = bisect.bisect_left(self._paths, prefix)
        end = bisect.bisect_left(self._paths, prefix + "\U0010ffff")
        return [array for array in self._stored[start:end] if "seed_generator" not in array.path]


def _rank(path: str, position: int) -> tuple[int, str, int]:
    """Kernels first, as the counting of operations expects; numbered variables and others in the file's order."""
    last = path.split("/")[-1].split(":")[0]
    if last.isdigit():
        return len(_KERNEL_ORDER), path.rpartition("/")[0], int(last)
    if last in _KERNEL_ORDER:
        return _KERNEL_ORDER.index(last), "", position
    return len(_KERNEL_ORDER), "", position


def _weight_paths(layers: list[dict[str, Any]], prefix: str) -> list[str]:
    """Where the weights of each layer are stored: by its name in `.h5`, by class and number in `.keras`."""
    used: dict[str, int] = {}
    paths = []
    for layer in layers:
        name = re.sub(r"\W+", "", str(layer.get("class_name") or ""))
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        number = used.get(name, 0)
        used[name] = number + 1
        paths.append(f"{prefix}layers/{name}" + (f"_{number}" if number else ""))
    return paths


def _name(layer: Mapping[str, Any]) -> str:
    config = layer.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return str(layer.get("name") or inner or layer.get("class_name") or "layer")


def _dtype(layer: Mapping[str, Any]) -> str:
    config = layer.get("config")
    value = config.get("dtype") if isinstance(config, dict) else None
    if isinstance(value, dict):
        value = (value.get("config") or {}).get("name")
    return value if isinstance(value, str) else "float32"


def _shape(value: Any) -> Shape:
    if not isinstance(value, (list, tuple)) or any(isinstance(size, (list, dict)) for size in value):
        return None
    return tuple(size if isinstance(size, int) else None for size in value)


def _input_shape(layer: Mapping[str, Any]) -> Shape:
    config = layer.get("config")
    if not isinstance(config, dict):
        return None
    return _shape(config.get("batch_shape") or config.get("batch_input_shape"))


def _plain(value: Any) -> Any:
    """A configuration value as an attribute: objects by their class name, long texts cut."""
    if isinstance(value, dict):
        return str(value.get("class_name") or f"{len(value)} entries")
    if isinstance(value, str):
        return value if len(value) <= 200 else f"{value[:200]}…"
    if isinstance(value, list):
        return [_plain(item) for item in value[:256]]
    return value


def _references(value: Any) -> list[Any]:
    """References to tensors: one, or a list, or lists of lists, all as a flat list."""
    if isinstance(value, dict):
        return [item for inner in value.values() for item in _references(inner)]
    if not isinstance(value, list) or not value:
        return []
    if isinstance(value[0], str):
        return [value]
    return [item for inner in value for item in _references(inner)]


def _reference(item: Any) -> tuple[str, int, int]:
    """The key of a tensor: layer, number of the call, number of the output."""
    history = item.get("keras_history") if isinstance(item, dict) else item
    if not isinstance(history, list) or len(history) < 3:
        return ("", -1, -1)
    numbers = [part if isinstance(part, int) else -1 for part in history[1:3]]
    return str(history[0]), numbers[0], numbers[1]


def _first_calls(config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the first call of each layer is numbered: Keras 2 counts the call that built a nested model too."""
    last: dict[str, int] = {}
    calls = [call for layer in layers for call in layer.get("inbound_nodes") or []]
    for item in [*_references(config.get("output_layers")), *(s for call in calls for s in _sources(call))]:
        name, number, _ = _reference(item)
        last[name] = max(last.get(name, 0), number)
    counts = {_name(layer): len(layer.get("inbound_nodes") or []) for layer in layers}
    return {name: max(number - counts[name] + 1, 0) for name, number in last.items() if counts.get(name)}


def _sources(call: Any, depth: int = 0) -> Iterator[Any]:
    """The tensors that one call reads, in either form of the configuration."""
    if depth > MAX_DEPTH:
        return
    if isinstance(call, dict):
        if call.get("class_name") == "__keras_tensor__":
            config = call.get("config")
            if isinstance(config, dict):
                yield config
            return
        for value in call.values():
            yield from _sources(value, depth + 1)
    elif isinstance(call, list):
        if (
            len(call) >= 3
            and isinstance(call[0], str)
            and isinstance(call[1], int)
            and isinstance(call[2], int)
        ):
            yield call[:3]
            yield from _sources(call[3:], depth + 1)
            return
        for value in call:
            yield from _sources(value, depth + 1)
