"""What a hostile board or file puts into a text moves no cursor, hides nothing and stays valid JSON."""

from __future__ import annotations

import io
import json

from edgestudio.cli.console import Console, table
from edgestudio.wire.errors import DeviceError
from edgestudio.wire.fields import CONTROL

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\x00\u2066"


def lines(*, is_json: bool) -> str:
    out, err = io.StringIO(), io.StringIO()
    console = Console(is_json=is_json, out=out, err=err)
    console.result({"name": EVIL}, f"board {EVIL}\nsecond\tline")
    console.result({"rows": [EVIL]}, table(["name"], [[EVIL]]))
    console.say(EVIL)
    console.error(DeviceError(EVIL, hint=EVIL))
    return out.getvalue() + err.getvalue()


def test_people_see_no_control_characters() -> None:
    text = lines(is_json=False)
    assert not [line for line in text.split("\n") if CONTROL.search(line)]
    assert "gnp.exe" in text
    assert "second    line" in text


def test_programs_get_the_same_text_escaped() -> None:
    text = lines(is_json=True)
    assert not [line for line in text.split("\n") if CONTROL.search(line)]
    first, second, error = (json.loads(line) for line in text.splitlines())
    assert (first["name"], second["rows"], error["error"]["message"]) == (EVIL, [EVIL], f"{EVIL}.")
