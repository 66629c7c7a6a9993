"""Reads a torch.export archive (`.pt2`): its program is JSON, with the shape of every value."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from edgestudio.model.building import MAX_DEPTH, GraphBuilder
from edgestudio.model.content import opened
from edgestudio.model.detect import Recognised
from edgestudio.model.formats.archive import opened_zip, read_entry
from edgestudio.model.graph import Dimension, Graph, Model, Node
from edgestudio.wire.errors import ModelError

# torch/_export/serde/schema.py: ScalarType
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn",
    30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz",
}  # fmt: skip
_SYMBOLIC = {"int": "int64", "float": "float64", "bool": "bool"}
_WRITTEN: dict[str, ast.operator] = {
    "Add": ast.Add(), "Mul": ast.Mult(), "FloorDiv": ast.FloorDiv(), "CleanDiv": ast.FloorDiv(), "Pow": ast.Pow(),
    "Mod": ast.Mod(), "PythonMod": ast.Mod(),
}  # fmt: skip
_LONGEST_EXPRESSION = 20_000
_MAX_PROGRAM_BYTES = 512 << 20


def read(found: Recognised) -> Model:
    """The program in `found.file`; raises ModelError when it is damaged."""
    name = found.path.name
    with opened(found.file) as buffer:
        size = len(buffer)
    with opened_zip(found.file) as archive:
        names = archive.namelist()
        entry = next(
            (
                item
                for item in names
                if item.endswith("serialized_exported_program.json")
                or re.search(r"(^|/)models/[^/]+\.json$", item)
            ),
            None,
        )
        if entry is None:
            raise ModelError(f"{name} is a torch.export archive without a program.", hint="Export it again.")
        program = json.loads(read_entry(archive, entry, _MAX_PROGRAM_BYTES))
        has_weights = any("weights/" in item or item.endswith("serialized_state_dict.pt") for item in names)
    module = program["graph_module"]
    reader = _Reader(list(found.warnings))
    index = reader.graph(module["graph"], module.get("signature") or {}, "main", 0)
    if not has_weights:
        reader.warnings.append("the archive holds no weights")
    version = program.get("schema_version")
    if isinstance(version, dict):
        version = f"{version.get('major')}.{version.get('minor')}"
    torch_version = str(program.get("torch_version") or "")
    assert index == 0
    return Model(
        format="torch-export",
        format_version=f"schema {version}" if version else None,
        producer=f"PyTorch {torch_version}".strip(),
        opsets={str(key): int(value) for key, value in (program.get("opset_version") or {}).items()},
        graphs=tuple(reader.graphs),
        size_bytes=size,
        metadata={"dialect": str(program["dialect"])} if "dialect" in program else {},
        warnings=tuple(dict.fromkeys(reader.warnings)),
    )


class _Reader:
    """One program and the graphs of its branches."""

    def __init__(self, warnings: list[str]) -> None:
        self.graphs: list[Graph] = []
        self.warnings = warnings

    def graph(self, document: dict[str, Any], signature: dict[str, Any], name: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ValueError("graphs are nested too deeply")
        index = len(self.graphs)
        self.graphs.append(Graph("", (), (), (), ()))
        builder = GraphBuilder(name)
        for key, value in (document.get("tensor_values") or {}).items():
            builder.describe(builder.find(key), *_tensor(value))
        for kind, dtype in _SYMBOLIC.items():
            for key in document.get(f"sym_{kind}_values") or {}:
                builder.describe(builder.find(key), dtype, ())
        weights = _weights(signature)
        inputs = []
        for argument in document.get("inputs") or ():
            for key in _names(argument):
                at = builder.find(key)
                if key in weights:
                    builder.names[at] = weights[key]
                    builder.kinds[at] = "constant"
                else:
                    builder.kinds[at] = "input"
                    inputs.append(at)
        for node in document.get("nodes") or ():
            self._node(builder, node, depth)
        mutated = _mutations(signature)
        outputs = [
            builder.find(key)
            for argument in document.get("outputs") or ()
            for key in _names(argument)
            if key not in mutated
        ]
        for at in outputs:
            if builder.kinds[at] == "activation":
                builder.kinds[at] = "output"
        self.graphs[index] = builder.finish(inputs, outputs)
        self.warnings += builder.warnings
        return index

    def _node(self, builder: GraphBuilder, node: dict[str, Any], depth: int) -> None:
        target = str(node.get("target"))
        inputs: list[int] = []
        attributes: dict[str, Any] = {}
        subgraphs: list[int] = []
        for position, entry in enumerate(node.get("inputs") or ()):
            argument = entry.get("arg") if isinstance(entry, dict) else None
            label = str(entry.get("name") or position) if isinstance(entry, dict) else str(position)
            if not isinstance(argument, dict):
                continue
            graph = argument.get("as_graph")
            names = _names(argument)
            if isinstance(graph, dict):
                subgraphs.append(self.graph(graph["graph"], {}, str(graph.get("name")), depth + 1))
            elif names:
                inputs += [builder.find(name) for name in names]
            else:
                attributes[label] = _literal(argument)
        outputs = [builder.find(name) for argument in node.get("outputs") or () for name in _names(argument)]
        metadata = node.get("metadata") or {}
        scope = _scope(str(metadata.get("nn_module_stack") or ""))
        op = target.removeprefix("torch.ops.")
        name = builder.names[outputs[0]] if outputs else op
        builder.nodes.append(
            Node(name, op, tuple(inputs), tuple(outputs), attributes, "", scope, tuple(subgraphs))
        )


def dtype_of(code: Any) -> str:
    """Numpy's name of a ScalarType, "" for one that is not known."""
    return _DTYPES.get(code, "") if isinstance(code, int) else ""


def _tensor(value: dict[str, Any]) -> tuple[str, tuple[Dimension, ...]]:
    dims: list[Dimension] = []
    for size in value.get("sizes") or ():
        if "as_int" in size:
            dims.append(int(size["as_int"]))
        else:
            expression = size.get("as_expr") or {}
            dims.append(_expression(str(expression.get("expr_str") or "")) or None)
    return dtype_of(value.get("dtype")), tuple(dims)


def _expression(text: str) -> str:
    """A size as people write it; newer versions write how SymPy would build it, Add(Symbol('s0', …), Integer(1))."""
    if "Symbol(" not in text or len(text) > _LONGEST_EXPRESSION:
        return text
    plain = re.sub(r"Symbol\('(\w+)'[^()]*\)", r"\1", text)
    try:
        tree = ast.parse(re.sub(r"Integer\((-?\d+)\)", r"(\1)", plain), mode="eval")
        return ast.unparse(_Written().visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


class _Written(ast.NodeTransformer):
    """Puts operators in the place of the calls that stand for them."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        kind = _WRITTEN.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if kind is None or len(node.args) < 2:
            return node
        first, *others = node.args
        for other in others:
            first = ast.BinOp(first, kind, other)
        return first


def _names(argument: dict[str, Any]) -> list[str]:
    """Names of the values that an argument refers to."""
    for key in ("as_tensor", "as_custom_obj"):
        if isinstance(argument.get(key), dict):
            return [str(argument[key]["name"])]
    for key in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        if isinstance(argument.get(key), dict) and "as_name" in argument[key]:
            return [str(argument[key]["as_name"])]
    tensors = argument.get("as_tensors") or []
    optional = [item.get("as_tensor") for item in argument.get("as_optional_tensors") or ()]
    return [str(item["name"]) for item in [*tensors, *optional] if isinstance(item, dict)]


def _literal(argument: dict[str, Any]) -> Any:
    key, value = next(iter(argument.items()), ("as_none", None))
    if key == "as_scalar_type":
        return _DTYPES.get(value, value) if isinstance(value, int) else value
    if key == "as_none":
        return None
    if isinstance(value, list):
        return value[:256]
    return value if isinstance(value, (bool, int, float, str)) else str(value)[:200]


def _scope(stack: str) -> str:
    """The module path of "key,path,type;…": the last entry's path."""
    parts = stack.split(";")[-1].split(",")
    return parts[1].replace(".", "/") if len(parts) > 1 else ""


def _weights(signature: dict[str, Any]) -> dict[str, str]:
    """Value name to the weight's own name, for inputs that are parameters, buffers and constants."""
    found: dict[str, str] = {}
    for spec in signature.get("input_specs") or ():
        for kind, label in (
            ("parameter", "parameter_name"),
            ("buffer", "buffer_name"),
            ("tensor_constant", "tensor_constant_name"),
        ):
            entry = spec.get(kind)
            if isinstance(entry, dict):
                found[str(entry["arg"]["name"])] = str(entry.get(label))
    return found


def _mutations(signature: dict[str, Any]) -> set[str]:
    """Outputs that only write a buffer back."""
    specs = [spec.get("buffer_mutation") for spec in signature.get("output_specs") or ()]
    return {str(spec["arg"]["name"]) for spec in specs if isinstance(spec, dict)}
