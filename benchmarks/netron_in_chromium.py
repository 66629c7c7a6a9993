"""Times Netron's parsing, layout and first picture of a file in a headless Chromium, by the browser's own protocol."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_STEP_S = 0.05


Opened = Callable[["Tab"], Awaitable[None]]


def measure(path: Path, limit_s: float) -> dict[str, Any]:
    """`{seconds, peak_mb, nodes}`, or `{reason}` where Netron cannot be timed here or does not finish in time."""
    server = _serve(path)
    address = f"http://127.0.0.1:{server.server_port}"

    async def consent(tab: Tab) -> None:
        cookie = {"name": "consent", "value": str(int(time.time())), "url": address}
        await tab.call("Network.setCookie", cookie)

    try:
        page = f"{address}/?url={address}/model/{path.name}&identifier={path.name}"
        return time_page(page, _DRAWN, limit_s, before=consent, flags=("--disable-gpu",))
    finally:
        server.shutdown()
        server.server_close()


def time_page(
    address: str, drawn: str, limit_s: float, *, before: Opened | None = None, flags: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Open a page in a browser of its own until the expression `drawn` is true; the keys of `measure`."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        return {"reason": "not run: no Chromium is installed (apt-get install chromium)"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1600,1000",
            "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", "--remote-debugging-port=0", "--no-first-run", *flags,
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _debugging_port(Path(profile))
            return asyncio.run(_time(port, address, drawn, limit_s, process.pid, before))
        except (OSError, TimeoutError) as error:
            return {"reason": f"not run: {error}"}
        finally:
            process.kill()
            process.wait()


class _Files(SimpleHTTPRequestHandler):
    """Netron's own pages, and the model beside them."""

    model: Path

    def do_GET(self) -> None:
        if self.path.startswith("/model/"):
            self._answer(self.model.read_bytes(), "application/octet-stream")
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _serve(path: Path) -> ThreadingHTTPServer:
    import netron

    folder = str(Path(netron.__file__).parent)
    handler = type("Files", (_Files,), {"model": path})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _debugging_port(profile: Path) -> int:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        file = profile / "DevToolsActivePort"
        if file.exists() and file.read_text().strip():
            return int(file.read_text().split()[0])
        time.sleep(_STEP_S)
    raise TimeoutError("Chromium did not start within 30 s")


async def _time(
    port: int, address: str, drawn: str, limit_s: float, pid: int, before: Opened | None
) -> dict[str, Any]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in await answer.json() if page["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            if before is not None:
                await before(tab)
            begun = time.perf_counter()
            await tab.call("Page.navigate", {"url": address})
            peak = 0.0
            while time.perf_counter() - begun < limit_s:
                peak = max(peak, _memory_mb(pid))
                try:
                    found = await tab.value(drawn, limit_s - (time.perf_counter() - begun))
                except TimeoutError:
                    break
                if found:
                    return {
                        "seconds": time.perf_counter() - begun,
                        "peak_mb": max(peak, _memory_mb(pid)),
                        "nodes": found,
                    }
                await asyncio.sleep(_STEP_S)
    return {"reason": f"nothing drawn within {limit_s:.0f} s ({peak:.0f} MB)"}


# Netron fills #canvas (an SVG) and only then takes the "welcome" class off the body.
_DRAWN = (
    "document.body && /default/.test(document.body.className) ? "
    "document.querySelectorAll('#nodes > .node, .node').length : 0"
)


class Tab:
    """One page of the browser, spoken to in its own protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0

    async def call(self, method: str, parameters: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        async with asyncio.timeout(max(0.1, timeout_s)):
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == self._number:
                    return dict(answer.get("result", {}))

    async def value(self, expression: str, timeout_s: float) -> Any:
        answer = await self.call(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True}, timeout_s
        )
        return answer.get("result", {}).get("value")


def _memory_mb(pid: int) -> float:
    """Proportional memory of the browser and its children."""
    import psutil

    total = 0
    parent = psutil.Process(pid)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e6
