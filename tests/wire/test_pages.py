"""The pages on protocol and threats stay true: every route, every test that they name."""

from __future__ import annotations

import re
from pathlib import Path

from edgestudio.wire import api

ROOT = Path(__file__).parents[2]


def test_every_path_is_in_the_protocol_page() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8").replace("{i}", "{index}")
    page = page.replace("`/abort`", "`/v1/installs/{id}/abort`").replace(
        "`/resume`", "`/v1/slots/{model}/resume`"
    )
    paths = [v for v in vars(api).values() if isinstance(v, str) and v.startswith("/v1/")]
    assert len(paths) > 15
    assert [path for path in paths if path not in page] == []


def test_every_test_that_the_threat_model_names_exists() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    tests = "".join(p.read_text("utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"::(test_\w+)", page))
    assert len(named) > 15
    assert {name for name in named if f"def {name}(" not in tests} == set()
    files = set(re.findall(r"`([a-z_/]+/test_\w+\.py)", page))
    assert {name for name in files if not (ROOT / "tests" / name).is_file()} == set()
