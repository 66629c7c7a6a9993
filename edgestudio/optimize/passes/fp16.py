"""FP16: half-precision weights, and half-precision arithmetic where the model's operators allow it."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import canonical, onnx_file
from edgestudio.optimize.step import X86_MACHINES, StepContext, StepReport
from edgestudio.wire.errors import RefusedError

FLOAT16_MAX = 65504.0


class Options(BaseModel):
    """Options of `fp16`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_io_types: bool = Field(
        title="Keep the types of inputs and outputs",
        default=True,
        description="Inputs and outputs stay float32, so that nothing around the model changes.",
    )
    arithmetic: Literal["auto", "half", "float"] = Field(
        default="auto",
        description="`half` computes in half precision too; `float` only stores the weights so; `auto` tries "
        "`half` and takes `float` where the result does not load.",
    )
    keep_in_float: tuple[str, ...] = Field(
        default=(), description="Names of nodes or operators that stay in float32, such as `Softmax`."
    )


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Write `source` in half precision; raises RefusedError when no form of it loads."""
    progress = context.progress
    progress.phase("read the weights", 0.0)
    original = onnx_file.load(source)
    total = len(_single(onnx_file.require_weights(original)))
    notes: list[str] = []
    overflow = _overflow(original)
    reason = ""
    if options.arithmetic != "float":
        try:
            progress.phase("half-precision arithmetic", 0.2)
            onnx_file.save(_half(source, options), target)
            progress.phase("see whether it loads", 0.6)
            reason = canonical.loads(target)
        except RefusedError:
            raise
        except Exception as error:  # noqa: BLE001 - the converter raises whatever its rewriting trips over
            reason = onnx_file.first_line(error)
        if reason and options.arithmetic == "half":
            raise RefusedError(f"The model does not run in half precision: {reason}", code="fp16")
    if options.arithmetic != "float" and not reason and platform.machine().lower() in X86_MACHINES:
        notes.append(
            "x86 CPUs compute in float32 and convert on the way; `arithmetic: float` avoids that there"
        )
    if options.arithmetic == "float" or reason:
        if reason:
            notes.append(
                f"half-precision arithmetic does not load ({reason}); weights are stored in half only"
            )
        progress.phase("half-precision weights alone", 0.7)
        onnx_file.save(_stored_half(onnx_file.load(source), options), target)
        reason = canonical.loads(target)
        if reason:
            raise RefusedError(f"The model does not run with half-precision weights: {reason}", code="fp16")
    progress.phase("count the weights", 0.9)
    remaining = len(_single(onnx_file.float_weights(onnx_file.load(target))))
    return StepReport(total - remaining, total, notes=tuple(notes), warnings=tuple(overflow))


def _single(weights: dict[str, Any]) -> dict[str, Any]:
    from onnx import TensorProto

    return {name: tensor for name, tensor in weights.items() if tensor.data_type == TensorProto.FLOAT}


def _half(source: Path, options: Options) -> Any:
    from onnxconverter_common import float16

    model = onnx_file.load(source)
    operators = {node.op_type for node in model.graph.node}
    kept = set(options.keep_in_float)
    with warnings.catch_warnings():  # it warns of every layer with tiny numbers, and clips what is too large
        warnings.simplefilter("ignore")
        return float16.convert_float_to_float16(
            model,
            keep_io_types=options.keep_io_types,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *(kept & operators)],
            node_block_list=sorted(kept - operators),
        )


def _stored_half(model: Any, options: Options) -> Any:
    """Weights as float16 initializers behind one Cast each; works for every operator and in subgraphs."""
    from onnx import TensorProto, helper

    kept = set(options.keep_in_float)
    for graph in onnx_file.graphs(model.graph):
        casts = []
        readers = {name: node for node in graph.node for name in node.input}
        for tensor in graph.initializer:
            reader = readers.get(tensor.name)
            blocked = reader is not None and (reader.name in kept or reader.op_type in kept)
            if (
                tensor.data_type != TensorProto.FLOAT
                or blocked
                or np.prod(tensor.dims) < onnx_file.MIN_WEIGHT_ELEMENTS
            ):
                continue
            name = tensor.name
            values = np.clip(onnx_file.array(tensor), -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)
            onnx_file.replace(tensor, values)
            tensor.name = f"{name}_h"
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
        for cast in reversed(casts):
            graph.node.insert(0, cast)
    return model


def _overflow(model: Any) -> list[str]:
    large = [
        name
        for name, tensor in onnx_file.float_weights(model).items()
        if np.abs(onnx_file.array(tensor)).max(initial=0) > FLOAT16_MAX
    ]
    if not large:
        return []
    return [f"{len(large)} weights exceed the range of half precision and are clipped, first `{large[0]}`"]
