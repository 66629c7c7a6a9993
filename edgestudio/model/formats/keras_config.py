"""Reads the parts of a Keras configuration: names, shapes, references between layers, in either form of the format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgestudio.model.building import MAX_DEPTH
from edgestudio.model.graph import Dimension, Graph

_KERNEL_ORDER = ("depthwise_kernel", "pointwise_kernel", "kernel", "embeddings", "recurrent_kernel")
Shape = tuple[Dimension, ...] | None


def weight_rank(path: str, position: int) -> tuple[int, str, int]:
    """Kernels first, as the counting of operations expects; numbered variables and others in the file's order."""
    last = path.split("/")[-1].split(":")[0]
    if last.isdigit():
        return len(_KERNEL_ORDER), path.rpartition("/")[0], int(last)
    if last in _KERNEL_ORDER:
        return _KERNEL_ORDER.index(last), "", position
    return len(_KERNEL_ORDER), "", position


def weight_paths(layers: list[dict[str, Any]], prefix: str) -> list[str]:
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


def each_step(given: Shape, graph: Graph) -> Shape:
    """What a model that is called at each step gives for all of them."""
    out = graph.tensors[graph.outputs[0]].shape if graph.outputs else None
    return None if given is None or out is None or len(given) < 2 else (given[0], given[1], *out[1:])


def keywords(call: Any) -> dict[str, Any]:
    """The plain arguments of a call in the older form: [[layer, call, output, {name: value}], …]."""
    first = call[0] if isinstance(call, list) and call else None
    first = call if isinstance(first, str) else first
    found = first[3] if isinstance(first, list) and len(first) > 3 else None
    return found if isinstance(found, dict) else {}


def layer_name(layer: Mapping[str, Any]) -> str:
    """The layer's own name."""
    config = layer.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    return str(layer.get("name") or inner or layer.get("class_name") or "layer")


def layer_dtype(layer: Mapping[str, Any]) -> str:
    """The type that the layer computes in."""
    config = layer.get("config")
    value = config.get("dtype") if isinstance(config, dict) else None
    if isinstance(value, dict):
        value = (value.get("config") or {}).get("name")
    return value if isinstance(value, str) else "float32"


def shape_in(value: Any) -> Shape:
    """A shape of the configuration, open sizes as None; None for what is no single shape."""
    if not isinstance(value, (list, tuple)) or any(isinstance(size, (list, dict)) for size in value):
        return None
    return tuple(size if isinstance(size, int) else None for size in value)


def input_shape(layer: Mapping[str, Any]) -> Shape:
    """The shape that a layer says it is given."""
    config = layer.get("config")
    if not isinstance(config, dict):
        return None
    return shape_in(config.get("batch_shape") or config.get("batch_input_shape"))


def plain(value: Any) -> Any:
    """A configuration value as an attribute: objects by their class name, long texts cut."""
    if isinstance(value, dict):
        return str(value.get("class_name") or f"{len(value)} entries")
    if isinstance(value, str):
        return value if len(value) <= 200 else f"{value[:200]}…"
    if isinstance(value, list):
        return [plain(item) for item in value[:256]]
    return value


def references(value: Any) -> list[Any]:
    """References to tensors: one, or a list, or lists of lists, all as a flat list."""
    if isinstance(value, dict):
        return [item for inner in value.values() for item in references(inner)]
    if not isinstance(value, list) or not value:
        return []
    if isinstance(value[0], str):
        return [value]
    return [item for inner in value for item in references(inner)]


def reference(item: Any) -> tuple[str, int, int]:
    """The key of a tensor: layer, number of the call, number of the output."""
    history = item.get("keras_history") if isinstance(item, dict) else item
    if not isinstance(history, list) or len(history) < 3:
        return ("", -1, -1)
    numbers = [part if isinstance(part, int) else -1 for part in history[1:3]]
    return str(history[0]), numbers[0], numbers[1]


def first_calls(config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the first call of each layer is numbered: Keras 2 counts the call that built a nested model too."""
    last: dict[str, int] = {}
    calls = [call for layer in layers for call in layer.get("inbound_nodes") or []]
    for item in [*references(config.get("output_layers")), *(s for call in calls for s in sources(call))]:
        name, number, _ = reference(item)
        last[name] = max(last.get(name, 0), number)
    counts = {layer_name(layer): len(layer.get("inbound_nodes") or []) for layer in layers}
    return {name: max(number - counts[name] + 1, 0) for name, number in last.items() if counts.get(name)}


def sources(call: Any, depth: int = 0) -> Iterator[Any]:
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
            yield from sources(value, depth + 1)
    elif isinstance(call, list):
        if (
            len(call) >= 3
            and isinstance(call[0], str)
            and isinstance(call[1], int)
            and isinstance(call[2], int)
        ):
            yield call[:3]
            yield from sources(call[3:], depth + 1)
            return
        for value in call:
            yield from sources(value, depth + 1)
