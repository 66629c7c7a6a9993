"""Says beforehand what a pass will not do for this model on that target, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgestudio.optimize.step import X86_MACHINES

# Share of the model's operators from which a remark about them is worth making.
_GROUPED_SHARE = 0.1
_SMALL_MODEL_BYTES = 64 * 1024


def advise(pass_id: str, options: Mapping[str, Any], summary: Mapping[str, Any], machine: str) -> list[str]:
    """Remarks on running `pass_id` on a model with the `summary` of `inspect` for a CPU of type `machine`
    (as `platform.machine()` or a board profile names it); empty when nothing speaks against it."""
    operators = {str(name): int(count) for name, count in (summary.get("operators") or {}).items()}
    is_x86 = machine.lower() in X86_MACHINES
    remarks = []
    if pass_id == "fp16" and is_x86:  # noqa: S105 - the name of a pass
        remarks.append("x86 CPUs compute in float32: FP16 halves the size and makes nothing faster there.")
    if pass_id == "int8-dynamic":  # noqa: S105
        remarks += _dynamic(operators, bool(options.get("convolutions")))
    if pass_id == "int8-static":  # noqa: S105
        remarks += _static(operators, options, is_x86)
    if pass_id in ("prune-magnitude", "cluster-weights") and options.get("storage") != "table":
        remarks.append(
            "Zeros and repeated values change neither file size nor latency; only the compressed size."
        )
    if pass_id == "weight-only":  # noqa: S105
        remarks.append("Weights are widened again before computing: smaller, and seldom faster on a CPU.")
    size = summary.get("size_bytes")
    if isinstance(size, int) and size < _SMALL_MODEL_BYTES and pass_id.startswith("int8"):
        remarks.append("For a model this small the description of the graph weighs as much as the weights.")
    return remarks


def advise_recipe(steps: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], machine: str) -> list[str]:
    """`advise` over the steps of a recipe document, each remark once."""
    remarks = [r for step in steps for r in advise(step["pass"], step.get("options") or {}, summary, machine)]
    return list(dict.fromkeys(remarks))


def _dynamic(operators: Mapping[str, int], convolutions: bool) -> list[str]:  # noqa: FBT001 - an option's value
    products = operators.get("MatMul", 0) + operators.get("Gemm", 0) + operators.get("FULLY_CONNECTED", 0)
    folded = operators.get("Conv", 0)
    if convolutions and folded:
        return [
            "Convolutions quantised dynamically run about five times slower, and some runtimes refuse them."
        ]
    if folded and not products:
        return ["All weights sit in convolutions, which dynamic quantisation leaves alone: use INT8 static."]
    if folded > products:
        return ["Most layers are convolutions, which dynamic quantisation leaves alone: use INT8 static."]
    return []


def _static(operators: Mapping[str, int], options: Mapping[str, Any], is_x86: bool) -> list[str]:  # noqa: FBT001
    remarks = []
    if is_x86 and options.get("activations") == "signed":
        remarks.append("Signed activations are two to five times slower than unsigned ones on x86.")
    total = sum(operators.values()) or 1
    shuffles = operators.get("Transpose", 0) + operators.get("Reshape", 0) + operators.get("Concat", 0)
    if operators.get("Conv", 0) and shuffles / total > _GROUPED_SHARE and operators.get("Transpose", 0) > 4:
        remarks.append(
            "Networks that shuffle channels or group convolutions often get slower in INT8; measure it."
        )
    if any(name in operators for name in ("LSTM", "GRU", "RNN")):
        remarks.append("Recurrent layers stay in float.")
    return remarks
