"""Writes one operator of an ONNX model as a model of its own, small enough for a bug report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgestudio.model.content import opened
from edgestudio.model.formats.onnx_skeleton import skeleton
from edgestudio.model.formats.onnx_values import DTYPES
from edgestudio.model.graph import Model, Tensor
from edgestudio.wire.errors import ModelError

_CODES = {name: code for code, name in DTYPES.items()}
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def write_node(path: Path, model: Model, index: int, target: Path) -> None:
    """Node `index` of the main graph alone; constants up to 1 KiB come along, larger weights become inputs.

    Raises ModelError when the file has no such node.
    """
    import onnx

    with opened(path) as buffer:
        source = onnx.load_model_from_string(skeleton(memoryview(buffer)))
    main = model.main
    wanted = main.nodes[index]
    outputs = [main.tensors[t].name for t in wanted.outputs if t >= 0]
    node = next(
        (n for n in source.graph.node if n.op_type == wanted.op and [o for o in n.output if o] == outputs),
        None,
    )
    if node is None:
        raise ModelError(f"{path.name} has no node that writes {', '.join(outputs) or 'nothing'}.")
    tensors = {tensor.name: tensor for tensor in main.tensors}
    kept = {t.name: t for t in source.graph.initializer if any(len(getattr(t, field)) for field in _DATA)}
    constants = {n.output[0]: n for n in source.graph.node if n.op_type == "Constant" and n.output}
    read = [item for item in dict.fromkeys(node.input) if item]
    graph = onnx.helper.make_graph(
        [*(constants[item] for item in read if item in constants), node],
        f"{node.op_type} alone",
        [_info(tensors.get(item), item) for item in read if item not in kept and item not in constants],
        [_info(tensors.get(item), item) for item in node.output if item],
        [kept[item] for item in read if item in kept],
    )
    alone = onnx.helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)
    alone.functions.extend(source.functions)
    onnx.save(alone, target)


def _info(tensor: Tensor | None, name: str) -> Any:
    import onnx

    code = _CODES.get(tensor.dtype, 1) if tensor is not None else 1
    shape = list(tensor.shape) if tensor is not None and tensor.shape is not None else None
    return onnx.helper.make_tensor_value_info(name, code, shape)
