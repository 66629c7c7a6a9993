"""Keeps the list of modules in docs/architecture.md true: `python -m tests.architecture_page` rewrites it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- modules -->", "<!-- /modules -->"


def module_list() -> str:
    """One line for each module of the package, by room."""
    package = ROOT / "edgestudio"
    lines: list[str] = []
    room = None
    paths = sorted((path.parent.as_posix(), path.stem != "__init__", path) for path in package.rglob("*.py"))
    for _folder, _is_not_first, path in paths:
        sentence = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip().split("\n\n")[0]
        sentence = " ".join(sentence.split())
        folder = path.parent.relative_to(package).as_posix()
        if folder != room:
            room = folder
            lines += ["", f"### {'edgestudio' if folder == '.' else folder}", ""]
        if path.stem == "__init__":
            lines += [sentence, ""]
        else:
            lines.append(f"- `{path.relative_to(package).as_posix()}`: {sentence}")
    return "\n".join(lines).strip()


def written() -> str:
    """The list as the page has it."""
    return PAGE.read_text("utf-8").split(START)[1].split(END)[0].strip()


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    head, tail = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{head}{START}\n{module_list()}\n{END}{tail}", encoding="utf-8")
