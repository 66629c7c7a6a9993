"""Canonicalise: the clean graph that every other pass expects, from a file of any age and exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import onnx_file
from edgestudio.optimize.step import StepContext, StepReport
from edgestudio.wire.errors import RefusedError

# Per-channel quantisation needs opset 13; 17 is what current exporters write and every runtime reads.
OLDEST_OPSET = 13
PREFERRED_OPSET = 17
# Folding may add a little; where it adds more it has written out a computed tensor.
MAX_GROWTH, SMALL_BYTES = 1.05, 4096


class Options(BaseModel):
    """Options of `canonicalise`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opset: int | None = Field(
        default=None,
        ge=7,
        le=30,
        description="ONNX opset of the result. Empty: the file's own, raised to 17 where it is below 13.",
    )
    simplify: bool = Field(default=True, description="Fold constants, fuse and remove what does nothing.")


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Write the canonical form of `source`; the report counts nodes. Raises ModelError, RefusedError."""
    model = onnx_file.load(source)
    before = len(model.graph.node)
    notes: list[str] = []
    _drop_weights_from_inputs(model, notes)
    _strip_texts(model)
    wanted = options.opset or (PREFERRED_OPSET if onnx_file.opset(model) < OLDEST_OPSET else None)
    if wanted is not None and wanted != onnx_file.opset(model):
        model = _converted(model, wanted, notes, must=options.opset is not None)
    if options.simplify:
        context.progress.phase("simplify the graph", 0.3)
        model = _simplified(model, notes)
    context.progress.phase("write the graph", 0.8)
    _constants_to_initializers(model)
    _flatten_gemm_biases(model)
    # Stale shapes of an exporter make quantisers fail; runtimes infer them anew.
    del model.graph.value_info[:]
    onnx_file.save(model, target)
    after = len(model.graph.node)
    return StepReport(
        changed=max(0, before - after),
        total=before,
        unit="nodes",
        notes=tuple(notes),
        figures={"nodes_before": before, "nodes_after": after, "opset": onnx_file.opset(model)},
    )


def loads(path: Path) -> str:
    """Why ONNX Runtime or the checker refuse the file, "" when both take it."""
    import onnx
    import onnxruntime

    try:
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, ValueError) as error:
        # Exporters leave out shapes that cannot be known; every runtime takes that.
        if not str(error).startswith("Field 'shape' of 'type'"):
            return onnx_file.first_line(error)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the library raises a dozen unrelated classes
        return onnx_file.first_line(error)
    return ""


def _drop_weights_from_inputs(model: Any, notes: list[str]) -> None:
    """Before IR 4 every weight was listed among the inputs too, which keeps it from being folded."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    kept = [entry for entry in model.graph.input if entry.name not in initializers]
    if len(kept) < len(model.graph.input):
        notes.append(
            f"{len(model.graph.input) - len(kept)} weights were listed as inputs and are constants now"
        )
        del model.graph.input[:]
        model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 8)


def _strip_texts(model: Any) -> None:
    """Documentation strings and stack traces of exporters travel to no board."""
    model.doc_string = ""
    for graph in onnx_file.graphs(model.graph):
        graph.doc_string = ""
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for tensor in graph.initializer:
            tensor.doc_string = ""


def _converted(model: Any, opset: int, notes: list[str], *, must: bool) -> Any:
    from onnx import inliner, version_converter

    before = onnx_file.opset(model)
    if model.functions:  # the converter would drop them and leave their calls
        model = inliner.inline_local_functions(model, convert_version=True)
        notes.append("functions of the model stand in the place of their calls")
    try:
        converted = version_converter.convert_version(model, opset)
    except Exception as error:
        reason = onnx_file.first_line(error)
        if "isUnallowed" in reason:  # the converter's own words are a line of its source
            reason = f"opset {opset} has not got the types of its operators"
        if must:
            raise RefusedError(
                f"The model cannot be rewritten from opset {before} to {opset}: {reason}",
                hint="Choose an opset nearer to its own, or export it at the opset that is wanted.",
                code="opset",
            ) from error
        notes.append(f"stays at opset {before}: {reason}")
        return model
    # Domains other than the default one, and what was written about the model, get lost in the converter.
    known = {entry.domain for entry in converted.opset_import}
    converted.opset_import.extend(entry for entry in model.opset_import if entry.domain not in known)
    del converted.metadata_props[:]
    converted.metadata_props.extend(model.metadata_props)
    converted.ir_version = max(converted.ir_version, model.ir_version)
    notes.append(
        f"opset {before} raised to {opset}" if opset > before else f"opset {before} lowered to {opset}"
    )
    return converted


def _simplified(model: Any, notes: list[str]) -> Any:
    import onnxslim

    copy = type(model)()
    copy.CopyFrom(model)
    try:
        slim = onnxslim.slim(copy)
    except Exception as error:  # noqa: BLE001 - simplifying is a convenience; the model goes on without it
        notes.append(f"could not be simplified: {onnx_file.first_line(error)}")
        return model
    if slim is None or not slim.graph.node:
        notes.append("could not be simplified: the simplifier returned no graph")
        return model
    if slim.ByteSize() > MAX_GROWTH * model.ByteSize() + SMALL_BYTES:
        notes.append("not simplified: folding its constants would make the file larger")
        return model
    return slim


def _constants_to_initializers(model: Any) -> None:
    """Weights that an exporter wrote as Constant nodes become initializers, where passes look for them."""
    for graph in onnx_file.graphs(model.graph):
        outputs = {output.name for output in graph.output}
        kept = []
        for node in graph.node:
            attribute = node.attribute[0] if node.op_type == "Constant" and len(node.attribute) == 1 else None
            if attribute is None or attribute.name != "value" or node.output[0] in outputs:
                kept.append(node)
                continue
            tensor = graph.initializer.add()
            tensor.CopyFrom(attribute.t)
            tensor.name = node.output[0]
        if len(kept) < len(graph.node):
            copies = [type(node).FromString(node.SerializeToString()) for node in kept]
            del graph.node[:]
            graph.node.extend(copies)


def _flatten_gemm_biases(model: Any) -> None:
    """A bias of shape [1, N] means the same as [N], which is the only form that quantisers take."""
    readers: dict[str, list[Any]] = {}
    for graph in onnx_file.graphs(model.graph):
        for node in graph.node:
            for index, name in enumerate(node.input):
                readers.setdefault(name, []).append((node, index))
    for tensor in model.graph.initializer:
        users = readers.get(tensor.name, [])
        is_bias = all(node.op_type == "Gemm" and index == 2 for node, index in users)
        if len(tensor.dims) == 2 and tensor.dims[0] == 1 and users and is_bias:
            onnx_file.replace(tensor, onnx_file.array(tensor).reshape(-1))
