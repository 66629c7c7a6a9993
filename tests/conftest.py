"""What every test stands on: own state, loopback only, nothing left running, real models by reference."""

from __future__ import annotations

import importlib.abc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from tests.patience import PATIENCE

# How long an example takes says nothing on a machine that is busy or emulated.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

_QT = {"PySide6", "pyqtgraph", "shiboken6"}


class _QtIsAbsent(importlib.abc.MetaPathFinder):
    """Makes every import of Qt fail, as on a machine that does not have it."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in _QT:
            raise ModuleNotFoundError(
                f"No module named {fullname!r} (blocked: this run is without Qt)", name=fullname
            )


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    parser.addoption("--without-qt", action="store_true", help="run as on a machine that has no Qt")
    if not pluginmanager.hasplugin("pytest-qt"):
        # The settings of pytest-qt stay in pyproject.toml; without the plugin somebody else must know them.
        parser.addini("qt_default_raising", "known to pytest-qt", default="true")
        parser.addini("qt_log_ignore", "known to pytest-qt", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # started in the background: children would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.version_info < (3, 11):
        # Python 3.10 takes a TLS connection that the other side has ended for unclosed; 3.11 marks it closed.
        config.addinivalue_line(
            "filterwarnings", r"ignore:unclosed transport <asyncio\.sslproto:ResourceWarning"
        )
    if config.getoption("--without-qt"):
        assert not _QT & set(sys.modules), "Qt was imported before the test run could forbid it"
        sys.meta_path.insert(0, _QtIsAbsent())


@pytest.fixture(scope="session")
def models_root() -> Path:
    """Folder of collected real models; the test is skipped, and says so, where it is not given."""
    value = os.environ.get("EDGESTUDIO_TEST_MODELS")
    if not value:
        pytest.skip("EDGESTUDIO_TEST_MODELS is not set: real models are not here")
    root = Path(value).resolve()
    if not (root / "INDEX.md").is_file():
        pytest.skip(f"EDGESTUDIO_TEST_MODELS does not point to a folder with INDEX.md: {root.name}")
    return root


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own EDGESTUDIO_HOME and reads no settings of the person who runs it."""
    for name in [
        name for name in os.environ if name.startswith("EDGESTUDIO_") and name != "EDGESTUDIO_TEST_MODELS"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EDGESTUDIO_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but this machine fails the test; multicast DNS on loopback is allowed."""
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])
            own = host.startswith(("127.", "10.77.")) or host in ("::1", "localhost", "0.0.0.0")
            assert own, f"a test tried to reach {host}"
        real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a thread or a child process behind fails, with their names."""
    me = psutil.Process()
    children_before = {child.pid for child in me.children(recursive=True)}
    threads_before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5 * PATIENCE
    while True:
        children = [c for c in me.children(recursive=True) if c.pid not in children_before and _is_alive(c)]
        threads = [
            t for t in threading.enumerate() if t not in threads_before and t.is_alive() and not _is_pooled(t)
        ]
        if not children and not threads:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    names = [" ".join(_command(child))[:200] for child in children]
    for child in children:
        child.kill()
    pytest.fail(f"left running: threads {[t.name for t in threads]}, processes {names}")


def _is_alive(child: psutil.Process) -> bool:
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command(child: psutil.Process) -> list[str]:
    try:
        return child.cmdline() or [child.name()]
    except psutil.Error:
        return ["?"]


def _is_pooled(thread: threading.Thread) -> bool:
    # Worker threads of pools that live as long as the process, and the suite's own time limit.
    return thread.daemon and thread.name.startswith(
        ("pytest_timeout", "ThreadPoolExecutor", "QThread", "Dummy")
    )
