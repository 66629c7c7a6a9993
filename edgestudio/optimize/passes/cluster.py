"""Weight clustering: k-means gives each layer a code book of values, kept as look-up tables in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import canonical, onnx_file
from edgestudio.optimize.passes.prune import zlib_bytes
from edgestudio.optimize.passes.weight_only import packed_nibbles
from edgestudio.optimize.step import StepContext, StepReport

# 4-bit tensors came with opset 21.
_OPSET_OF_UINT4 = 21


class Options(BaseModel):
    """Options of `cluster-weights`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: Literal[2, 3, 4, 5, 6, 7, 8] = Field(
        default=4, description="2 to the power of this many values per layer."
    )
    storage: Literal["table", "dense"] = Field(
        default="table",
        description="`table` stores indices and a code book, which makes the file smaller; `dense` keeps float "
        "tensors, which only compress better.",
    )
    min_elements: int = Field(default=256, ge=32, description="Smaller weights stay as they are.")


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Write `source` with clustered weights; figures: the size after zlib (bytes)."""
    model = onnx_file.load(source)
    total = len(onnx_file.require_weights(model))
    if options.storage == "table" and options.bits <= 4 and onnx_file.opset(model) < _OPSET_OF_UINT4:
        raised = context.work / "raised.onnx"
        canonical.run(source, raised, canonical.Options(opset=_OPSET_OF_UINT4, simplify=False), context)
        model = onnx_file.load(raised)
    names = onnx_file.float_weights(model)
    changed = 0
    for graph in onnx_file.graphs(model.graph):
        nodes: list[Any] = []
        for tensor in list(graph.initializer):
            if tensor.name not in names or np.prod(tensor.dims) < options.min_elements:
                continue
            values = onnx_file.array(tensor)
            book, index = kmeans(values.ravel().astype(np.float32), 2**options.bits)
            changed += 1
            if options.storage == "dense":
                onnx_file.replace(tensor, book[index].reshape(values.shape).astype(values.dtype))
            else:
                nodes += _as_table(
                    graph, tensor, book.astype(values.dtype), index.reshape(values.shape), options
                )
        for node in reversed(nodes):
            graph.node.insert(0, node)
    onnx_file.save(model, target)
    warnings = () if changed else (f"0 of {total} weights changed: none has {options.min_elements} elements",)
    return StepReport(changed, total, warnings=warnings, figures={"zlib_bytes": zlib_bytes(model)})


def kmeans(
    values: NDArray[np.float32], count: int, iterations: int = 25
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Lloyd's algorithm in one dimension, started from quantiles: sorted centres [count], index of each value."""
    centres = np.unique(np.quantile(values, np.linspace(0, 1, count)).astype(np.float32))
    if len(centres) < count:
        centres = np.linspace(values.min(), values.max(), count, dtype=np.float32)
    for _ in range(iterations):
        index = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        sums = np.bincount(index, weights=values, minlength=count)
        sizes = np.bincount(index, minlength=count)
        moved = np.sort(np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)).astype(np.float32)
        if np.allclose(centres, moved, atol=1e-7):
            break
        centres = moved
    return centres, np.searchsorted((centres[1:] + centres[:-1]) / 2, values)


def _as_table(
    graph: Any, tensor: Any, book: NDArray[Any], index: NDArray[np.intp], options: Options
) -> list[Any]:
    """Swap the weight for indices, a code book and the two nodes that look it up."""
    from onnx import TensorProto, helper, numpy_helper

    name = tensor.name
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(book, f"{name}_book"))
    if options.bits <= 4:
        packed = TensorProto(name=f"{name}_index", dims=index.shape, data_type=TensorProto.UINT4)
        packed.raw_data = packed_nibbles(index)
        graph.initializer.append(packed)
    else:
        graph.initializer.append(numpy_helper.from_array(index.astype(np.uint8), f"{name}_index"))
    return [
        helper.make_node("Cast", [f"{name}_index"], [f"{name}_index32"], to=TensorProto.INT32),
        helper.make_node("Gather", [f"{name}_book", f"{name}_index32"], [name], axis=0),
    ]
