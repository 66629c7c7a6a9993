"""Small edits of a graph as recipe steps: rename, dimensions, cut out, drop outputs, opset."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import canonical, onnx_file
from edgestudio.optimize.step import StepContext, StepReport
from edgestudio.wire.errors import RecipeError, RefusedError


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RenameOptions(_Options):
    """Options of `rename`."""

    names: dict[str, str] = Field(
        default_factory=dict, description="Old name to new name, of inputs, outputs, tensors or nodes."
    )


class DimensionOptions(_Options):
    """Options of `set-dimensions`."""

    dimensions: dict[str, int] = Field(
        default_factory=dict,
        description="Symbol to size, such as `batch: 1`, for every input that has the symbol.",
    )
    inputs: dict[str, tuple[int | str, ...]] = Field(
        default_factory=dict,
        description="Input to its whole shape, such as `x: [N, 3, 224, 224]`; a name frees that dimension.",
    )


class ExtractOptions(_Options):
    """Options of `extract`."""

    inputs: tuple[str, ...] = Field(
        default=(), description="Tensors that become the inputs; empty: the model's own as far as needed."
    )
    outputs: tuple[str, ...] = Field(
        default=(), description="Tensors that become the outputs; empty: the model's own."
    )


class DropOptions(_Options):
    """Options of `drop-outputs`."""

    outputs: tuple[str, ...] = Field(default=(), description="Names of the outputs to remove.")


class OpsetOptions(_Options):
    """Options of `convert-opset`."""

    opset: int = Field(default=17, ge=7, le=30, description="ONNX opset of the result.")


def rename(source: Path, target: Path, options: RenameOptions, context: StepContext) -> StepReport:
    """Rename tensors and nodes; raises RecipeError on unknown or taken names."""
    model = onnx_file.load(source)
    tensors, nodes = _tensor_names(model), {node.name for node in model.graph.node if node.name}
    for old, new in options.names.items():
        if old not in tensors | nodes:
            raise _unknown("tensor or node", old, tensors | nodes)
        if not new or new in (tensors if old in tensors else nodes):
            raise RecipeError(
                f"`{old}` cannot become `{new}`: {'that name is taken' if new else 'it is empty'}."
            )
    if len(set(options.names.values())) < len(options.names):
        raise RecipeError("Two names would become the same.")
    for graph in onnx_file.graphs(model.graph):
        for entry in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            entry.name = options.names.get(entry.name, entry.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = options.names.get(sparse.values.name, sparse.values.name)
        for node in graph.node:
            node.name = options.names.get(node.name, node.name) if node.name in nodes else node.name
            for names in (node.input, node.output):
                names[:] = [options.names.get(name, name) if name in tensors else name for name in names]
    onnx_file.save(model, target)
    renamed = {old: new for old, new in options.names.items() if old in nodes}
    return StepReport(len(options.names), len(options.names), unit="names", names=renamed)


def set_dimensions(source: Path, target: Path, options: DimensionOptions, context: StepContext) -> StepReport:
    """Give inputs other shapes; what follows from them is inferred anew. Raises RecipeError, RefusedError."""
    import onnx

    model = onnx_file.load(source)
    changed = _resize_inputs(model.graph, options)
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise RefusedError(
            f"The graph does not take these dimensions: {onnx_file.first_line(error)}"
        ) from error
    del model.graph.value_info[:]
    onnx_file.save(model, target)
    return StepReport(changed, changed, unit="dimensions")


def _resize_inputs(graph: Any, options: DimensionOptions) -> int:
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = {entry.name: entry for entry in graph.input if entry.name not in initializers}
    symbols = {
        d.dim_param for entry in inputs.values() for d in entry.type.tensor_type.shape.dim if d.dim_param
    }
    for symbol, size in options.dimensions.items():
        if symbol not in symbols:
            raise _unknown("symbolic dimension", symbol, symbols)
        if size < 1:
            raise RecipeError(f"`{symbol}` cannot be {size}: a dimension is at least 1.")
    changed = 0
    for name, shape in options.inputs.items():
        if name not in inputs:
            raise _unknown("input", name, inputs)
        dims = inputs[name].type.tensor_type.shape.dim
        if len(dims) != len(shape):
            raise RecipeError(f"`{name}` has {len(dims)} dimensions, the recipe gives {len(shape)}.")
        for dim, wanted in zip(dims, shape, strict=True):
            changed += _set(dim, wanted)
    for entry in inputs.values():
        for dim in entry.type.tensor_type.shape.dim:
            if dim.dim_param in options.dimensions:
                changed += _set(dim, options.dimensions[dim.dim_param])
    return changed


def extract(source: Path, target: Path, options: ExtractOptions, context: StepContext) -> StepReport:
    """Cut out what lies between the named tensors; raises RecipeError when something else is needed for it."""
    import onnx

    model = onnx_file.load(source)
    known = _tensor_names(model)
    for name in (*options.inputs, *options.outputs):
        if name not in known:
            raise _unknown("tensor", name, known)
    outputs = options.outputs or tuple(output.name for output in model.graph.output)
    initializers = {tensor.name for tensor in model.graph.initializer}
    own = [entry.name for entry in model.graph.input if entry.name not in initializers]
    kept, needed = _between(model.graph, set(options.inputs) or set(own), outputs, initializers)
    missing = sorted(needed - set(options.inputs)) if options.inputs else []
    if missing:
        raise RecipeError(
            f"The part also needs {', '.join(f'`{name}`' for name in missing[:5])}.",
            hint="Add these to `inputs`, or choose outputs that do not depend on them.",
        )
    described = onnx.shape_inference.infer_shapes(model)
    types = {
        entry.name: entry
        for entry in (*described.graph.value_info, *described.graph.input, *described.graph.output)
    }
    inputs = options.inputs or tuple(name for name in own if name in needed)
    unknown = [name for name in (*inputs, *outputs) if name not in types]
    if unknown:
        raise RefusedError(
            f"The type of `{unknown[0]}` cannot be inferred, so it cannot bound a model.",
            hint="Cut at a tensor before or after it: what operators outside of ONNX's own write has no known type.",
        )
    before = len(model.graph.node)
    nodes = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:], model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.input.extend(types[name] for name in inputs)
    model.graph.output.extend(types[name] for name in outputs)
    onnx_file.drop_unused_initializers(model)
    onnx_file.save(model, target)
    return StepReport(before - len(nodes), before, unit="nodes", notes=(f"{len(nodes)} nodes kept",))


def drop_outputs(source: Path, target: Path, options: DropOptions, context: StepContext) -> StepReport:
    """Remove outputs and what only they needed; raises RecipeError when none would be left."""
    model = onnx_file.load(source)
    present = [output.name for output in model.graph.output]
    for name in options.outputs:
        if name not in present:
            raise _unknown("output", name, present)
    left = tuple(name for name in present if name not in options.outputs)
    if not left:
        raise RecipeError("A model needs at least one output.", hint=f"Its outputs are {', '.join(present)}.")
    return extract(source, target, ExtractOptions(outputs=left), context)


def convert_opset(source: Path, target: Path, options: OpsetOptions, context: StepContext) -> StepReport:
    """Rewrite the model for `opset`; raises RefusedError with the operator that has no counterpart there."""
    return canonical.run(source, target, canonical.Options(opset=options.opset, simplify=False), context)


def _between(
    graph: Any, inputs: set[str], outputs: Iterable[str], initializers: set[str]
) -> tuple[list[Any], set[str]]:
    """Nodes needed for `outputs` when `inputs` are given, in graph order, and the graph inputs they read."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    wanted, seen, keep, needed = list(outputs), set(), set(), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in inputs or name not in producers:
            if name not in initializers:
                needed.add(name)
            continue
        index = producers[name]
        if index not in keep:
            keep.add(index)
            wanted += _reads(graph.node[index])
    return [graph.node[index] for index in sorted(keep)], needed


def _reads(node: Any) -> list[str]:
    """Names that a node reads, those of its subgraphs from outside included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for inner in onnx_file.graphs(graph):
                made = {output for each in inner.node for output in each.output}
                made |= {tensor.name for tensor in inner.initializer} | {entry.name for entry in inner.input}
                names += [name for each in inner.node for name in each.input if name and name not in made]
                names += [output.name for output in inner.output if output.name not in made]
    return names


def _tensor_names(model: Any) -> set[str]:
    graph = model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    return names | {entry.name for entry in (*graph.input, *graph.output, *graph.initializer)}


def _set(dim: Any, wanted: int | str) -> bool:
    if isinstance(wanted, int):
        if wanted < 1:
            raise RecipeError(f"A dimension cannot be {wanted}: it is at least 1, or a name.")
        is_new = dim.dim_value != wanted or bool(dim.dim_param)
        dim.dim_value = wanted
    else:
        is_new = dim.dim_param != wanted
        dim.dim_param = wanted
    return bool(is_new)


def _unknown(kind: str, name: str, known: Iterable[str]) -> RecipeError:
    near = difflib.get_close_matches(name, list(known), n=3)
    return RecipeError(
        f"The model has no {kind} `{name}`.",
        hint=f"Near names: {', '.join(near)}." if near else f"Look the {kind} up in the graph.",
        code="unknown-name",
    )
