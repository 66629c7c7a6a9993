"""Writes single operators of an ONNX model as models of their own, small enough for a bug report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgestudio.model.content import opened
from edgestudio.model.formats.onnx_skeleton import skeleton
from edgestudio.model.formats.onnx_values import DTYPES
from edgestudio.model.graph import Model, Tensor

_CODES = {name: code for code, name in DTYPES.items()}


def write_operators(path: Path, model: Model, operators: set[str], out_dir: Path) -> list[Path]:
    """One file for the first node of each operator; its weights become inputs, so that no data travels."""
    import onnx

    with opened(path) as buffer:
        source = onnx.load_model_from_string(skeleton(memoryview(buffer)))
    tensors = {tensor.name: tensor for tensor in model.main.tensors}
    written = []
    for node in source.graph.node:
        name = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        if name not in operators:
            continue
        operators = operators - {name}
        graph = onnx.helper.make_graph(
            [node],
            f"first {name}",
            [_info(tensors.get(item), item) for item in dict.fromkeys(node.input) if item],
            [_info(tensors.get(item), item) for item in node.output if item],
        )
        alone = onnx.helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)
        target = out_dir / f"failing_{name.replace('.', '_')}.onnx"
        onnx.save(alone, target)
        written.append(target)
    return written


def _info(tensor: Tensor | None, name: str) -> Any:
    import onnx

    code = _CODES.get(tensor.dtype, 1) if tensor is not None else 1
    shape = list(tensor.shape) if tensor is not None and tensor.shape is not None else None
    return onnx.helper.make_tensor_value_info(name, code, shape)
