"""Times Model Explorer's conversion, layout and first picture of a file in a headless Chromium.

It is no dependency of ours: install `ai-edge-model-explorer==0.1.34 model-explorer-onnx` into an environment of its
own and put its `model-explorer` on the path. Its WebGL is drawn in software here; the first picture is bound by parsing
and layout, not by that.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import psutil

from benchmarks.netron_in_chromium import time_page

_START_S = 60.0
# The graph is on the canvas when its title says how many nodes it has.
_DRAWN = (
    "document.querySelector('webgl-renderer canvas') && "
    "Number((document.body.innerText.match(/([\\d,]+) nodes/) || ['', '0'])[1].replaceAll(',', ''))"
)


def measure(path: Path, limit_s: float, program: str = "model-explorer") -> dict[str, Any]:
    """`{seconds, peak_mb, nodes}`, or `{reason}`; the server's start is not counted, its memory is."""
    found = shutil.which(program)
    if found is None:
        return {"reason": "not run: Model Explorer is not installed (pip install ai-edge-model-explorer)"}
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [
        found, "--host=127.0.0.1", f"--port={port}", "--no_open_in_browser", "--extensions=model_explorer_onnx",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        if not _is_up(address):
            return {"reason": f"not run: its server did not start within {_START_S:.0f} s"}
        asked = quote(json.dumps({"models": [{"url": str(path)}]}))
        flags = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
        told = time_page(
            f"{address}?data={asked}&renderer=webgl&show_open_in_new_tab=0", _DRAWN, limit_s, flags=flags
        )
        if "peak_mb" in told:
            told["peak_mb"] += psutil.Process(server.pid).memory_info().rss / 1e6
        return told
    finally:
        server.terminate()
        server.wait()


def _is_up(address: str) -> bool:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        try:
            with urlopen(address, timeout=2):
                return True
        except (URLError, OSError):
            time.sleep(0.1)
    return False
