"""Turns a Keras model's configuration into graphs: one node a layer call, nested models as graphs of their own."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.formats.hdf5 import StoredArray
from edgestudio.model.formats.keras_config import (
    Shape,
    each_step,
    first_calls,
    input_shape,
    keywords,
    layer_dtype,
    layer_name,
    plain,
    reference,
    references,
    shape_in,
    sources,
    weight_paths,
    weight_rank,
)
from edgestudio.model.formats.keras_shapes import output_shape
from edgestudio.model.graph import Graph, Node
from edgestudio.wire.errors import ModelError

_MODELS = {"Functional", "Sequential", "Model"}
_QUIET = re.compile(
    r"(_initializer|_regularizer|_constraint)$|^(name|trainable|dtype|batch_input_shape|function|layer|config)$"
)


class KerasGraphs:
    """The graphs of one file; `graphs[0]` is the model itself."""

    def __init__(self, stored: Sequence[StoredArray]) -> None:
        self.graphs: list[Graph] = []
        self.warnings: list[str] = []
        self.layer_count = 0
        self._nested: dict[str, int] = {}
        self._owners: list[str] = []
        self.places: dict[str, StoredArray] = {}
        """The stored array of each weight, by the weight's name."""
        self._stored = sorted(stored, key=lambda array: array.path)
        self._paths = [array.path for array in self._stored]
        self._order = {array.path: position for position, array in enumerate(stored)}

    def read(self, document: Mapping[str, Any]) -> None:
        """Add the graph of a model's configuration, nested models after it."""
        self._model(document, "", 0)

    def _model(self, document: Mapping[str, Any], prefix: str, depth: int, owner: str = "") -> int:
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
        paths = weight_paths(layers, prefix)
        self._owners.append(owner)
        is_functional = "input_layers" in config
        if not layers:
            self.warnings.append(
                f"{document.get('class_name')} is a class of its own: its layers are Python code and not in the file"
            )
        if is_functional:
            inputs, outputs = self._functional(builder, config, layers, paths, depth)
        else:
            inputs, outputs = self._sequential(builder, config, layers, paths, depth)
        self._owners.pop()
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
            given = input_shape(layer) or (shape_in(config.get("build_input_shape")) if current < 0 else None)
            is_input = layer.get("class_name") == "InputLayer"
            if current < 0:
                current = builder.add(
                    layer_name(layer) if is_input else "input", layer_dtype(layer), given, "input"
                )
                inputs.append(current)
            if is_input:
                self.layer_count += 1
                continue
            outs = self._call(builder, layer, path, [current], layer_name(layer), depth, {})
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
            name = layer_name(layer)
            calls = layer.get("inbound_nodes") or []
            if layer.get("class_name") == "InputLayer" or not calls:
                self.layer_count += layer.get("class_name") == "InputLayer"
                index = builder.find((name, 0, 0), name)
                builder.describe(index, layer_dtype(layer), input_shape(layer), "input")
                inputs[name] = index
                continue
            pending += [(layer, path, position, call) for position, call in enumerate(calls)]
        self._run(builder, pending, depth, first_calls(config, layers))
        wanted = [reference(item) for item in references(config.get("input_layers"))]
        ordered = [inputs[name] for name, *_ in wanted if name in inputs] or list(inputs.values())
        outputs = [
            builder.keys[key]
            for item in references(config.get("output_layers"))
            if (key := reference(item)) in builder.keys
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
                read = list(sources(call))
                if any(reference(source) not in builder.keys for source in read):
                    waiting.append((layer, path, position, call))
                    continue
                name = layer_name(layer)
                shown = name if position == 0 else f"{name} #{position + 1}"
                indices = []
                for source in read:
                    index = builder.keys[reference(source)]
                    if isinstance(source, dict) and builder.shapes[index] is None:
                        builder.describe(index, str(source.get("dtype") or ""), shape_in(source.get("shape")))
                    indices.append(index)
                outs = self._call(builder, layer, path, indices, shown, depth, keywords(call))
                for slot, index in enumerate(outs):
                    builder.keys[(name, position + firsts.get(name, 0), slot)] = index
            if len(waiting) == len(pending):
                names = ", ".join(layer_name(layer) for layer, *_ in waiting[:3])
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
        keywords: Mapping[str, Any],
    ) -> list[int]:
        self.layer_count += 1
        op = str(layer.get("class_name") or "Layer")
        config = layer.get("config")
        config = config if isinstance(config, dict) else {}
        subgraphs: tuple[int, ...] = ()
        shape: Shape = None
        attributes = {key: plain(value) for key, value in config.items() if not _QUIET.search(key)}
        self._remark(op, layer, shown, attributes)
        if op == "TFOpLambda":
            attributes = {
                "function": str(config.get("function")),
                **{k: plain(v) for k, v in keywords.items()},
            }
        _built(builder, layer, inputs)
        shapes = [builder.shapes[index] for index in inputs]
        weights: list[int] = []
        op = op.rpartition(">")[2]  # "package>Name" is how a registered class of one's own is written
        if op in _MODELS and (config.get("layers") or isinstance(layer.get("config"), list)):
            subgraphs = (self._nested_model(layer, path, depth),)
            attributes = {}
            graph = self.graphs[subgraphs[0]]
            if graph.outputs:
                shape = graph.tensors[graph.outputs[0]].shape
        else:
            inner = config.get("layer")
            is_model = (
                op == "TimeDistributed" and isinstance(inner, dict) and inner.get("class_name") in _MODELS
            )
            weights = [] if is_model else self._layer_weights(builder, path, layer_name(layer))
            if is_model and isinstance(inner, dict):
                nested = self._model(inner, f"{path}/layer/", depth + 1, layer_name(inner))
                subgraphs = (nested,)
                shape = each_step(shapes[0] if shapes else None, self.graphs[nested])
            elif isinstance(inner, dict):
                attributes["layer"] = str(inner.get("class_name"))
                attributes.update(
                    {k: plain(v) for k, v in (inner.get("config") or {}).items() if not _QUIET.search(k)}
                )
            if not subgraphs:
                shape = output_shape(op, attributes, shapes, [builder.shapes[index] for index in weights])
        dtype = builder.dtypes[inputs[0]] if inputs else "float32"
        out = builder.add(shown, "float32" if op == "Embedding" else dtype, shape)
        builder.nodes.append(
            Node(shown, op, (*inputs, *weights), (out,), attributes, "", shown.rpartition("/")[0], subgraphs)
        )
        return [out]

    def _nested_model(self, layer: dict[str, Any], path: str, depth: int) -> int:
        """The graph of a model inside of the model: one that is called twice has its layers and weights once."""
        nested = self._nested.get(path, -1)
        if nested < 0:
            nested = self._nested[path] = self._model(layer, f"{path}/", depth + 1, layer_name(layer))
        return nested

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
            or (self._inside(name) if path.count("layers/") > 1 else self._below(f"{name}/"))
        )
        found.sort(key=lambda array: weight_rank(array.path, self._order[array.path]))
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
        """The arrays of a nested model's layer in `.h5`, behind the names of the models around it."""
        owners = [owner for owner in self._owners if owner]
        for start in range(len(owners)):
            # From the whole way down to the innermost model alone: versions name more or fewer of them.
            way = "/".join(owners[start:])
            found = [array for array in self._stored if f"{way}/{name}/" in f"/{array.path}"]
            if found:
                return found
        return [array for array in self._stored if f"/{name}/" in f"/{array.path}"]

    def _below(self, prefix: str) -> list[StoredArray]:
        """The arrays whose path starts with the prefix, states of random generators left out."""
        start = bisect.bisect_left(self._paths, prefix)
        end = bisect.bisect_left(self._paths, prefix + "\U0010ffff")
        return [array for array in self._stored[start:end] if "seed_generator" not in array.path]


def _built(builder: GraphBuilder, layer: Mapping[str, Any], inputs: Sequence[int]) -> None:
    """Take over the shape that a layer was built for, where nothing else tells it."""
    built = layer.get("build_config")
    shape = shape_in(built.get("input_shape")) if isinstance(built, dict) else None
    if len(inputs) == 1 and shape is not None and builder.shapes[inputs[0]] is None:
        builder.describe(inputs[0], "", shape)
