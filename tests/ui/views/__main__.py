"""Takes a picture of every view of the window, in light and dark and at two sizes, on a virtual screen of its own.

`python -m tests.ui.views --out FOLDER [--only WORD] [--scale PERCENT]` ends with 0 when every view could be taken;
whether they look as they should is for people to say.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.journeys.screen import ScreenUnavailableError, virtual_screen
from tests.journeys.stage import perform

ROOT = Path(__file__).resolve().parents[3]
SIZES = ((1280, 800), (1920, 1080))
MOST_SECONDS = 2400


def main() -> int:
    """Bring a screen, take the pictures, and give the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--only", default="", help="keep only the pictures whose name contains this")
    parser.add_argument("--scale", type=int, default=100, help="size of text and controls, in percent")
    parser.add_argument("--on-this-display", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    output = arguments.out.absolute()
    output.mkdir(parents=True, exist_ok=True)
    if arguments.on_this_display:
        from tests.ui.views.tour import Tour

        scale = arguments.scale / 100
        sizes = [(round(width / scale), round(height / scale)) for width, height in SIZES]
        return perform(lambda app: Tour(app, output, sizes, arguments.only))
    width, height = SIZES[-1]
    try:
        with virtual_screen(f"{width}x{height}") as display, tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
            environment |= {"EDGESTUDIO_HOME": home, "QT_SCALE_FACTOR": str(arguments.scale / 100)}
            environment.pop("WAYLAND_DISPLAY", None)
            command = [sys.executable, "-m", "tests.ui.views", "--on-this-display", *sys.argv[1:]]
            return subprocess.run(command, env=environment, cwd=ROOT, timeout=MOST_SECONDS).returncode
    except ScreenUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
