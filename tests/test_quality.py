"""The house rules, run as tests: style, types, layers, sizes, and what the project must not mention."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture_page import module_list, written

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgestudio"
MOST_LINES = 400
MOST_FUNCTION_LINES = 60


def _run(*command: str) -> None:
    _succeeds(sys.executable, "-m", *command)


def _succeeds(*command: str) -> None:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]


def _sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_resources" not in path.parts)


@pytest.mark.timeout(600)
def test_ruff_finds_nothing() -> None:
    _run("ruff", "check", ".")


@pytest.mark.timeout(600)
def test_ruff_would_not_reformat_anything() -> None:
    _run("ruff", "format", "--check", ".")


@pytest.mark.timeout(600)
def test_types_hold_under_strict_mypy() -> None:
    _run("mypy")


@pytest.mark.timeout(600)
def test_layers_hold() -> None:
    _succeeds(str(Path(sys.executable).with_name("lint-imports")))


def _imported(tree: ast.AST) -> set[str]:
    """What a module imports when it is loaded: not what a function or only the type checker asks for."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            found |= _imported(node)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    trees = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in _sources()
    }
    waiting = {name: _imported(tree) & trees.keys() - {name} for name, tree in trees.items()}
    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    assert not waiting, f"in a circle, or behind one: {sorted(waiting)}"


def test_files_and_functions_keep_their_size() -> None:
    too_long = []
    for path in _sources():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            too_long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    too_long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not too_long, "\n".join(too_long)


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
    assert not [path for path in _sources() if path.stem in vague]


def test_every_module_says_its_job() -> None:
    silent = [
        str(p.relative_to(ROOT)) for p in _sources() if not ast.get_docstring(ast.parse(p.read_text("utf-8")))
    ]
    assert not silent


def test_every_type_ignore_names_its_code() -> None:
    bare = re.compile(r"#\s*(type: ignore(?!\[)|noqa(?!: ?[A-Z]))")
    found = [str(p.relative_to(ROOT)) for p in _sources() if bare.search(p.read_text("utf-8"))]
    assert not found


def test_architecture_page_lists_every_module_with_its_job() -> None:
    assert written() == module_list(), "run: python -m tests.architecture_page"


def test_constraints_pin_every_dependency_with_hashes_and_name_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert "://" not in text
    pinned = {re.split(r"[=\s]", block)[0].lower() for block in re.split(r"\n(?=[A-Za-z0-9])", text)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in ("tensorrt", "all"):  # tensorrt downloads from its vendor; `all` repeats the others
            wanted += requirements
    names = {re.split(r"[<>=!;\[\s]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names <= {name.replace("_", "-").replace(".", "-") for name in pinned}
    blocks = [block for block in re.split(r"\n(?=[A-Za-z0-9])", text) if "==" in block]
    assert not [block.splitlines()[0] for block in blocks if "--hash" not in block]
