"""A model has no network: what its process can reach, what rights it has left, and what the board says of that."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgestudio.agent.run import isolation, scratch
from edgestudio.agent.run.host import HostSpec, ModelHost
from edgestudio.agent.run.spawn import walls
from tests.agent import releases

WALLS = asyncio.run(walls())
REFUSED = WALLS["network_reason"]

TRY = """
import ctypes, json, os, socket, sys
from edgestudio.agent.run import limits
before = os.getuid(), os.getgid()
if sys.argv[2:]:  # no user namespace is given to a process of two threads: root cuts the network without
    import threading, time
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
reason, _ = limits.confine(0, os.getppid())
def reach(make):
    try:
        make()
        return "reached"
    except OSError as failure:
        return failure.strerror
def udp():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
def back():
    if ctypes.CDLL(None).setns(os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY), 0) != 0:
        raise OSError("refused")
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
print(json.dumps({
    "reason": reason, "same": before == (os.getuid(), os.getgid()), "signal": signal.value, "udp": reach(udp),
    "tcp": reach(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)),
    "back": reach(back),
    "mount": ctypes.CDLL(None).unshare(0x00020000),
}))
"""


@pytest.mark.skipif(bool(REFUSED), reason=f"no namespaces here: {REFUSED}")
@pytest.mark.parametrize("more", [(), ("with threads",)])
def test_a_confined_process_reaches_nothing_not_even_its_own_board(more: tuple[str, ...]) -> None:
    if more and os.geteuid() != 0:
        pytest.skip("only root cuts the network without a user namespace")

    async def scenario() -> dict[str, object]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", TRY, str(port), *more, stdout=subprocess.PIPE
        )
        said, _ = await child.communicate()
        server.close()
        return dict(json.loads(said))

    told = asyncio.run(scenario())
    assert told["reason"] == ""
    assert told["same"] is True, "it keeps its name, or files could not be told to be its own"
    assert told["tcp"] != "reached"
    assert told["udp"] != "reached"
    assert told["back"] != "reached", "it cannot go back to the board's network"
    assert told["mount"] == -1, "the rights that a user namespace brings are gone"
    assert told["signal"] == 9, "it still dies together with its agent"


@pytest.mark.skipif(bool(REFUSED), reason=f"no namespaces here: {REFUSED}")
def test_a_model_runs_without_a_network_and_without_rights() -> None:
    async def scenario() -> None:
        host = ModelHost(HostSpec(releases.MODEL), lambda *_: None)
        try:
            await host.start()
            await host.load()
            assert host.open_network == ""
            proc = Path(f"/proc/{host.pid}")
            assert (proc / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
            interfaces = [
                line.split(":")[0].strip() for line in (proc / "net/dev").read_text().splitlines()[2:]
            ]
            assert set(interfaces) <= {"lo"}
            status = dict(
                line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line
            )
            for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
                assert int(status[kind], 16) == 0, kind
        finally:
            await host.close()

    asyncio.run(scenario())


TOUCH = """
import json, os, sys
from pathlib import Path
from edgestudio.agent.run import limits
data, release = Path(sys.argv[1]), Path(sys.argv[2])
_, reason = limits.confine(0, os.getppid(), files=limits.Files((str(data),), (str(release),), ()))
import tempfile
def reach(make):
    try:
        make()
        return "reached"
    except OSError as failure:
        return failure.strerror
(Path(tempfile.gettempdir()) / "own").write_text("x")
print(json.dumps({
    "reason": reason, "model": reach((release / "model.onnx").read_bytes),
    "beside": reach(Path(sys.argv[3]).read_bytes), "secret": reach((data / "identity/key.pem").read_bytes),
    "other": reach((data / "slots/m/other").read_bytes), "list": reach(lambda: (data / "peers.json").write_text("{}")),
    "new": reach(lambda: (data / "new").write_text("x")), "outside": reach(lambda: Path(sys.argv[3]).write_text("x")),
    "model changed": reach(lambda: (release / "model.onnx").write_text("x")),
    "removed": reach((data / "peers.json").unlink),
    "moved": reach(lambda: (release / "model.onnx").rename(release / "x")),
    "linked": reach(lambda: os.symlink(data / "identity/key.pem", Path(tempfile.gettempdir()) / "k")
                    or (Path(tempfile.gettempdir()) / "k").read_bytes()),
    "memory": reach(lambda: open(f"/proc/{os.getppid()}/mem", "rb")),
    "environment": reach(lambda: open(f"/proc/{os.getppid()}/environ", "rb")),
    "through": reach(lambda: open(f"/proc/{os.getppid()}/root" + str(data / "identity/key.pem"), "rb")),
}))
import edgestudio.agent.run.answering, onnxruntime  # libraries are found as ever
"""


@pytest.mark.skipif(not WALLS["files_hidden"], reason=f"no Landlock here: {WALLS['files_reason']}")
def test_a_confined_process_sees_its_release_and_nothing_else_of_the_agents(tmp_path: Path) -> None:
    data = tmp_path / "a" / "board"
    release, beside = data / "slots/m/1", tmp_path / "pictures.bin"
    for file in (
        data / "identity/key.pem",
        data / "peers.json",
        data / "slots/m/other",
        release / "model.onnx",
        beside,
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("secret")
    told = json.loads(
        subprocess.run(
            [sys.executable, "-c", TOUCH, str(data), str(release), str(beside)],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    assert told.pop("reason") == ""
    assert {name for name, got in told.items() if got == "reached"} == {"model", "beside"}, told
    assert beside.read_text() == (data / "peers.json").read_text() == "secret"


@pytest.mark.skipif(not WALLS["files_hidden"], reason=f"no Landlock here: {WALLS['files_reason']}")
def test_a_boards_models_run_behind_that_wall_and_leave_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            assert board.info()["isolation"]["files_hidden"] is True
            assert (await releases.push(board, releases.make_release(tmp_path / "r")))["state"] == "COMMITTED"
            seat = board.models.bays["digits"].serving
            assert seat is not None
            assert seat.host.spec.hidden == board.store.folder
            assert seat.host.open_files == ""
            own = scratch.scratch_of(seat.host.pid or 0)
            assert own.is_dir()
        finally:
            await board.stop()
        assert not own.exists()

    asyncio.run(scenario())


def test_where_the_kernel_refuses_that_is_said() -> None:
    code = f"""
import ctypes, os, sys
sys.path.insert(0, {str(Path(isolation.__file__).parents[3])!r})
from edgestudio.agent.run import isolation, limits
class Kernel:
    def unshare(self, flags): ctypes.set_errno(1); return -1
isolation.ctypes.CDLL = lambda *a, **k: Kernel()
print(isolation.cut_network())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "no network namespace" in said


def test_the_board_says_which_walls_hold(tmp_path: Path) -> None:
    async def scenario() -> None:
        board = releases.supervisor(tmp_path / "board")
        await board.start()
        try:
            told = board.info()["isolation"]
            assert told["network_cut"] is (told["network_reason"] == "")
            assert told["network_reason"] == REFUSED
            assert told["memory_limited"] is (told["memory_reason"] == "")
            assert told["open_files"] == 256
            done = await releases.push(board, releases.make_release(tmp_path / "r"))
            assert done["state"] == "COMMITTED"
            seat = board.models.bays["digits"].serving
            assert seat is not None
            assert seat.host.open_network == REFUSED
        finally:
            await board.stop()

    asyncio.run(scenario())
