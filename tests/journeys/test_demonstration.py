"""The main job through the real window: every step is named, ends well and leaves a picture."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 480

pytestmark = [pytest.mark.display, pytest.mark.timeout(MOST_SECONDS + 30)]


def step_titles() -> list[str]:
    """The titles of the steps, read from the source: importing it needs a screen."""
    tree = ast.parse((ROOT / "tests" / "journeys" / "demonstration.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "steps":
            assert isinstance(node.value, ast.List)
            return [ast.literal_eval(each.elts[0]) for each in node.value.elts if isinstance(each, ast.Tuple)]
    raise AssertionError("the demonstration has no list of steps")


def is_blank(picture: Path) -> bool:
    """True when a screenshot is nearly all of one colour."""
    from PIL import Image

    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    most = max(count for count, _ in colours)
    return len(colours) < 50 or most > 0.97 * sum(count for count, _ in colours)


def test_the_main_job_works_and_is_photographed(tmp_path: Path) -> None:
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    environment = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.demonstration", "--output", str(tmp_path)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        pytest.fail(f"not done after {MOST_SECONDS} s:\n{said}")
    assert process.returncode == 0, said
    titles = step_titles()
    assert len(titles) >= 11
    for title in titles:
        assert title in said, said
    pictures = sorted(tmp_path.glob("[0-9][0-9]-*.png"))
    assert len(pictures) >= 15, [picture.name for picture in pictures]
    assert not [picture.name for picture in pictures if is_blank(picture)]
