"""INT8 dynamic: 8-bit weights, activations quantised while the model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import canonical, onnx_file
from edgestudio.optimize.step import StepContext, StepReport
from edgestudio.wire.errors import RefusedError

OPERATORS = ("MatMul", "Gemm")
_DYNAMIC_OPSET = 11


class Options(BaseModel):
    """Options of `int8-dynamic`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_channel: bool = Field(
        default=True, description="One scale per output channel: more exact, a little larger."
    )
    convolutions: bool = Field(
        default=False,
        description="Quantise convolutions too. They get about five times slower (ConvInteger) and some "
        "runtimes refuse them: use INT8 static for convolutional networks.",
    )
    exclude: tuple[str, ...] = Field(default=(), description="Names of nodes that stay in float.")


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Quantise the weights of `source`'s matrix products; the report says how many weights that were."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx_file.load(source)
    before = onnx_file.require_weights(model)
    if onnx_file.opset(model) < _DYNAMIC_OPSET:
        raise RefusedError(
            f"Dynamic quantisation needs opset {_DYNAMIC_OPSET}; this model could not be raised above "
            f"{onnx_file.opset(model)}.",
            code="opset",
        )
    excluded = excluded_nodes(model, options.exclude)
    operators = [*OPERATORS, *(["Conv"] if options.convolutions else [])]
    # Weights in sub-graphs are quantised where ONNX Runtime manages to, which its own loader tells.
    for with_subgraphs in (True, False):
        with onnx_file.quiet():
            quantize_dynamic(
                str(source),
                str(target),
                op_types_to_quantize=operators,
                per_channel=options.per_channel,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                extra_options={"EnableSubgraph": with_subgraphs},
            )
        if not canonical.loads(target):
            break
    else:
        target.write_bytes(source.read_bytes())
    result = onnx_file.load(target)
    remaining = onnx_file.float_weights(result)
    changed = len(before) - len([name for name in before if name in remaining])
    warnings = []
    if changed == 0:
        warnings.append(f"0 of {len(before)} weights changed: {_why_none(model)}")
    onnx_file.save(tidy(result), target)
    return StepReport(changed, len(before), warnings=tuple(warnings))


def _why_none(model: Any) -> str:
    kinds = {node.op_type for node in model.graph.node if node.op_type in onnx_file.WEIGHT_INPUTS}
    others = sorted(kinds - set(OPERATORS))
    if kinds & set(OPERATORS):
        return (
            "its matrix products are of a form that ONNX Runtime leaves alone (transposed, scaled or too small); "
            "the pass `weight-only` covers more"
        )
    return (
        f"they belong to {', '.join(others) or 'sub-graphs'}, and dynamic quantisation changes MatMul and Gemm only; "
        "INT8 static is the recipe for convolutions"
    )


def excluded_nodes(model: Any, names: tuple[str, ...]) -> list[str]:
    """Nodes meant by `names`: of a node or of a tensor that it writes; raises RefusedError on an unknown one."""
    import difflib

    by_output = {output: node.name for node in model.graph.node for output in node.output}
    known = {node.name for node in model.graph.node}
    found = []
    for name in names:
        node = name if name in known else by_output.get(name)
        if not node:
            near = difflib.get_close_matches(name, [*known, *by_output], n=3)
            raise RefusedError(
                f"There is no node `{name}` to exclude: cleaning up the graph may have merged it with another.",
                hint=f"Near names: {', '.join(near)}."
                if near
                else "Look the name up in the cleaned-up graph.",
                code="unknown-node",
            )
        found.append(node)
    return found


def tidy(model: Any) -> Any:
    """Drop shapes, texts and weights that a quantiser leaves behind."""
    del model.graph.value_info[:]
    onnx_file.drop_unused_initializers(model)
    model.producer_name, model.producer_version = "edgestudio", ""
    return model


def shorten(model: Any, original: Any) -> None:
    """Give short names to what a quantiser added to `original`: in a small model its long ones outweigh the weights."""
    known = tensor_names(original)
    short: dict[str, str] = {}

    def renamed(name: str) -> str:
        if not name or name in known:
            return name
        return short.setdefault(name, f"q{len(short)}")

    if any(name in known for name in (f"q{number}" for number in range(len(tensor_names(model))))):
        return
    nodes = {node.name for node in original.graph.node}
    for number, node in enumerate(model.graph.node):
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        if node.name not in nodes:
            node.name = f"{node.op_type[0]}{number}"
    for tensor in model.graph.initializer:
        tensor.name = renamed(tensor.name)


def tensor_names(model: Any) -> set[str]:
    """Names of all tensors of the graph and of those nested in it."""
    names: set[str] = set()
    for graph in onnx_file.graphs(model.graph):
        names.update(name for node in graph.node for name in (*node.input, *node.output))
        names.update(entry.name for entry in (*graph.input, *graph.output, *graph.initializer))
    return names
