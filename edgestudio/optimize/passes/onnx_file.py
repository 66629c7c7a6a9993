"""Reads and writes the ONNX files that passes work on, and counts the weights in them."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestudio.wire.errors import ModelError, RefusedError

PROTOBUF_LIMIT_BYTES = (1 << 31) - 1
# Which inputs of an operator are weights when they are constant.
WEIGHT_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
    "Gather": (0,),
    "Attention": (1,),
}
# What ONNX Runtime puts before what it has to say: its codes and the path of the file.
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : (Load model from .*? failed:\s*)?")
# Below this a tensor is a constant of the arithmetic (a scale, an axis), not a layer's weights.
MIN_WEIGHT_ELEMENTS = 32


def load(path: Path) -> Any:
    """The file as an `onnx.ModelProto` with its external data; raises ModelError."""
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf, the checker and the file system raise unrelated classes
        raise ModelError(
            f"{path.name} cannot be read as ONNX: {first_line(error)}", hint="Is the file complete?"
        ) from error
    if not model.graph.node:
        raise ModelError(f"{path.name} holds no operators, so there is nothing to optimise.")
    return model


def save(model: Any, path: Path) -> None:
    """Write `model` as one file; raises RefusedError when it is over protobuf's 2 GB."""
    if model.ByteSize() > PROTOBUF_LIMIT_BYTES:
        raise RefusedError(
            "The result is larger than the 2 GB that one ONNX file can hold.",
            hint="Quantise the weights first, or optimise the model in parts (pass `extract`).",
        )
    path.write_bytes(model.SerializeToString())


def opset(model: Any) -> int:
    """Version of the default operator set, 1 when the file names none."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    return 1


def graphs(graph: Any) -> Iterator[Any]:
    """`graph` and every graph nested in its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
            for inner in attribute.graphs:
                yield from graphs(inner)


def array(tensor: Any) -> NDArray[Any]:
    """Values of an initializer."""
    from onnx import numpy_helper

    values: NDArray[Any] = numpy_helper.to_array(tensor)
    return values


def replace(tensor: Any, values: NDArray[Any]) -> None:
    """Give the initializer `tensor` new values under its old name."""
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def float_weights(model: Any, *, operators: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Float initializers that feed a weight input of an operator, subgraphs included: "name" -> tensor.

    A weight kept as a Constant node counts too. `operators` narrows which operators are looked at.
    """
    from onnx import TensorProto

    found: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    for graph in graphs(model.graph):
        constants |= {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                constants[node.output[0]] = node.attribute[0].t
            if operators is not None and node.op_type not in operators:
                continue
            for index in WEIGHT_INPUTS.get(node.op_type, ()):
                if index >= len(node.input) or node.input[index] not in constants:
                    continue
                tensor = constants[node.input[index]]
                if tensor.data_type in floats and int(np.prod(tensor.dims)) >= MIN_WEIGHT_ELEMENTS:
                    found[tensor.name or node.input[index]] = tensor
    return found


def require_weights(model: Any) -> dict[str, Any]:
    """`float_weights`, refusing in words a model that has none."""
    weights = float_weights(model)
    if weights:
        return weights
    operators = sorted({node.op_type for graph in graphs(model.graph) for node in graph.node})
    domains = sorted({node.domain for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    is_classical = domains == ["ai.onnx.ml"] and not any(name in WEIGHT_INPUTS for name in operators)
    if is_classical or any(name in _QUANTISED for name in operators):
        why = (
            "it is made of classical machine-learning operators (ai.onnx.ml), which have no tensors of weights"
            if is_classical
            else "it is quantised already"
        )
    else:
        listed = ", ".join(operators[:8])
        why = f"none of its operators ({listed}) has weights that can be shrunk"
    raise RefusedError(f"There is nothing to shrink in this model: {why}.", code="nothing-to-do")


def used_names(model: Any) -> set[str]:
    """Every tensor name that some node reads or the model returns, subgraphs included."""
    names = {output.name for output in model.graph.output}
    for graph in graphs(model.graph):
        names.update(output.name for output in graph.output)
        names.update(name for node in graph.node for name in node.input)
    return names


def drop_unused_initializers(model: Any) -> None:
    """Remove initializers that nothing reads any more."""
    used = used_names(model)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Libraries print their progress and log advice for their own users; a job's log has better lines."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's text, cut to what fits a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _PREFIX.sub("", lines[0]) if lines else ""
    return (text or type(error).__name__)[:300]


_QUANTISED = frozenset(
    {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DequantizeLinear", "MatMulNBits"}
)
