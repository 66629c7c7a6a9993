"""The agent's package and its installer on a booted Debian: systemd is the first process, the desk is another host.

Needs the folder that `installers/agent/systemd_board.sh` prepares, and root for its containers; skipped otherwise.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import MODEL, Desk
from tests.emulated.container import BOARD_ADDRESS, DESK_ADDRESS, Container

AGENT = Path(__file__).parents[2] / "installers" / "agent"
STATE = "/var/lib/edgestudio"
pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def system() -> Path:
    folder = os.environ.get("EDGESTUDIO_SYSTEMD_BOARD")
    if not folder:
        pytest.skip("EDGESTUDIO_SYSTEMD_BOARD is not set: see installers/agent/systemd_board.sh")
    if os.geteuid() != 0 or shutil.which("systemd-nspawn") is None:
        pytest.skip("a booted container needs root and systemd-nspawn")
    return Path(folder).resolve()


@pytest.fixture
def container(system: Path, tmp_path: Path) -> Iterator[Container]:
    made = Container(system, tmp_path)
    yield made
    print(made.journal())  # noqa: T201  shown when a test fails
    made.end()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "home")
    made.environment["EDGESTUDIO_DISCOVERY_INTERFACES"] = DESK_ADDRESS
    return made


@pytest.fixture
def package(system: Path) -> Path:
    return next((system / "dist").glob("*.deb"))


def _install(container: Container, package: Path) -> None:
    shutil.copy(package, container.root / "root" / "agent.deb")
    done = container.run("dpkg", "--install", "/root/agent.deb", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr


def _pair(container: Container, desk: Desk) -> None:
    code = re.findall(r"pairing code: (\S+)", container.journal())[-1]
    paired = desk.run("pair", "board", "--code", code, prefix=container.on_desk)
    assert paired.status == 0, paired.said()


def _push(container: Container, desk: Desk) -> None:
    pushed = desk.run("push", MODEL, "--to", "board", prefix=container.on_desk)
    assert pushed.last["state"] == "committed", pushed.said()


def _status(container: Container) -> str:
    return container.run("edgestudio-agent", "status", "--data", STATE).stdout


def _until(holds: Callable[[], bool], what: str, limit_s: float = 90) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.3)


def _is_serving(container: Container) -> bool:
    said = _status(container)
    return "digits: " in said and "not serving" not in said and "paired studios: 1" in said


def _override(container: Container, text: str) -> None:
    """A drop-in for this boot, as an administrator would write it."""
    folder = container.root / "etc" / "systemd" / "system" / "edgestudio-agent.service.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").write_text(f"[Service]\n{text}\n")
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "restart", "edgestudio-agent")


def test_package_is_installed_paired_served_upgraded_and_removed(
    container: Container, desk: Desk, package: Path, tmp_path: Path
) -> None:
    _install(container, package)
    assert container.show("ActiveState", "UnitFileState") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    found = desk.run("devices", prefix=container.on_desk).json["devices"]
    assert [each["address"] for each in found] == [f"{BOARD_ADDRESS}:8743"]
    _pair(container, desk)
    _push(container, desk)
    assert _is_serving(container)

    # Unprivileged, and the model further confined than the agent.
    main = container.show("MainPID")["MainPID"]
    worker = container.run("pgrep", "--parent", main, "--full", "agent.run.worker").stdout.split()[0]
    for pid in (main, worker):
        status = container.run("cat", f"/proc/{pid}/status").stdout
        assert re.search(r"^NoNewPrivs:\s1$", status, re.M)
        assert re.search(r"^CapEff:\s0+$", status, re.M)
        assert not re.search(r"^Uid:\s0", status, re.M)
    networks = [container.run("readlink", f"/proc/{pid}/ns/net").stdout for pid in (main, worker)]
    assert networks[0] != networks[1]
    loose = [
        "find",
        STATE,
        "-type",
        "f",
        "-perm",
        "/077",
        "-not",
        "-name",
        "cert.pem",
    ]  # a certificate is public
    assert container.run(*loose).stdout == ""
    assert container.run("find", STATE, "-not", "-user", "edgestudio").stdout == ""
    exposure = container.run("systemd-analyze", "security", "--no-pager", "edgestudio-agent").stdout
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", exposure)
    assert level is not None
    assert float(level[1]) < 3

    _cannot_read_the_boards_key(container)

    # An upgrade replaces the running agent; it serves again by itself. So does a reboot.
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(unpacked)], check=True, timeout=120)
    control = unpacked / "DEBIAN" / "control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+next", control.read_text(), flags=re.M))
    newer = tmp_path / "newer.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", str(unpacked), str(newer)], check=True, timeout=120)
    _install(container, newer)
    assert container.show("MainPID")["MainPID"] != main
    _until(lambda: _is_serving(container), "serving after the upgrade")
    container.halt()
    container.boot()
    _until(lambda: _is_serving(container), "serving after a reboot")
    _install(container, package)  # an older one over it: a person's decision, which loses nothing
    _until(lambda: _is_serving(container), "serving after the way back")

    # Removed: nothing runs, everything of value stays. Installed again: as before. Purged: nothing is left.
    assert container.run("dpkg", "--remove", "edgestudio-agent").returncode == 0
    assert container.show("ActiveState") == {"ActiveState": "inactive"}
    assert container.run("test", "-e", "/opt/edgestudio-agent").returncode != 0
    _install(container, newer)
    _until(lambda: _is_serving(container), "serving after it was installed again")
    assert container.run("dpkg", "--purge", "edgestudio-agent").returncode == 0
    assert container.run("test", "-e", STATE).returncode != 0
    assert container.run("getent", "passwd", "edgestudio").returncode != 0


LOOK = """\
import json, os, sys
sys.path.insert(0, "/opt/edgestudio-agent/lib")
from edgestudio.agent.run import limits
from pathlib import Path
data = Path("/var/lib/edgestudio")
model = next(data.glob("slots/**/*.onnx"))
keys = [path for path in data.rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text(errors="replace")]
reasons = limits.confine(0, os.getppid(), files=limits.Files((str(data),), (str(model.parent),), ()))
def reach(path):
    try:
        return len(path.read_bytes()) > 0
    except OSError as refused:
        return refused.strerror
told = json.dumps({"reasons": reasons, "model": reach(model), "keys": [reach(path) for path in keys]})
print("walls:", told, flush=True)
"""


def _cannot_read_the_boards_key(container: Container) -> None:
    """The walls of a model's process hold within those of the unit: it sees its release and no key."""
    (container.root / "usr/local/bin/look.py").write_text(LOOK)
    _override(container, "ExecStartPre=/usr/bin/python3 -I /usr/local/bin/look.py")
    found = json.loads(re.findall(r"^walls: (.*)$", container.journal(), re.M)[-1])
    assert found["reasons"] == ["", ""]
    assert found["model"] is True
    assert found["keys"]
    assert set(found["keys"]) == {"Permission denied"}
    _override(container, "")
    _until(lambda: _is_serving(container), "serving after the look")


def test_agent_that_hangs_or_dies_comes_back_with_a_growing_pause(
    container: Container, package: Path
) -> None:
    _install(container, package)
    _override(container, "WatchdogSec=5")
    hung = container.show("MainPID")["MainPID"]
    container.run("kill", "-STOP", hung)
    _until(lambda: container.show("MainPID")["MainPID"] not in (hung, "0"), "a restart by the watchdog")
    assert "Watchdog timeout" in container.journal()

    # An installation that cannot even start is tried for ever, ever more slowly, and mended by a file put back.
    container.run("mv", "/opt/edgestudio-agent/lib", "/opt/edgestudio-agent/away")
    container.run("systemctl", "kill", "--signal=KILL", "edgestudio-agent")
    _until(lambda: "starting again in 8 s" in container.journal(), "a third pause")
    assert re.findall(r"starting again in (\d+) s", container.journal())[-3:] == ["2", "4", "8"]
    container.run("mv", "/opt/edgestudio-agent/away", "/opt/edgestudio-agent/lib")
    _until(lambda: container.show("ActiveState") == {"ActiveState": "active"}, "a start that holds")


def _over_ssh(
    container: Container, system: Path, *more: str, user: str = "pi"
) -> subprocess.CompletedProcess[str]:
    options = (f"IdentityFile={system / 'key'}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null",
               "BatchMode=yes", "LogLevel=ERROR")  # fmt: skip
    command = [*container.on_desk, sys.executable, str(AGENT / "over_ssh.py"), f"{user}@{BOARD_ADDRESS}"]
    command += [
        "--wheels",
        str(system / "wheels"),
        *(part for option in options for part in ("-o", option)),
        *more,
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_one_command_over_ssh_installs_provisions_and_upgrades(
    container: Container, desk: Desk, system: Path, tmp_path: Path
) -> None:
    file = tmp_path / "board.provision"
    made = desk.run("provision", file, "--name", "board", "--host", BOARD_ADDRESS)
    assert made.status == 0, made.said()
    done = _over_ssh(container, system, "--provision", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "paired studios: 1" in done.stdout
    _push(container, desk)
    again = _over_ssh(container, system)
    assert again.returncode == 0, again.stdout + again.stderr
    _until(lambda: _is_serving(container), "serving after the upgrade")
    # Nothing of the copy, with the board's key in it, stays behind.
    assert container.run("sh", "-c", "ls -d /tmp/tmp.* 2>/dev/null").stdout == ""
    assert container.run("sh", "-c", f"ls {STATE} | grep provision").stdout == ""

    # A new agent that cannot start gives way to the one before.
    broken = tmp_path / "broken"
    shutil.copytree(AGENT, broken)
    unit = broken / "edgestudio-agent.service"
    unit.write_text(unit.read_text().replace("--data /var", "--no-such-option --data /var"))
    container.run("mkdir", "/root/broken")
    for each in [
        *(system / "wheels").iterdir(),
        *(broken / name for name in ("install.sh", "back-off.sh")),
        unit,
    ]:
        shutil.copy(each, container.root / "root" / "broken")
    refused = container.run("sh", "/root/broken/install.sh", "--wheels", "/root/broken", timeout_s=300)
    assert refused.returncode == 2
    assert "the one before it was put back" in refused.stderr
    _until(lambda: _is_serving(container), "serving with the agent before")

    purged = container.run("sh", "/root/broken/install.sh", "--remove", "--purge")
    assert purged.returncode == 0, purged.stderr
    for path in (STATE, "/opt/edgestudio-agent", "/usr/bin/edgestudio-agent"):
        assert container.run("test", "-e", path).returncode != 0
    assert container.show("LoadState") == {"LoadState": "not-found"}


def _shim(container: Container, name: str, text: str) -> None:
    path = container.root / "usr" / "local" / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_board_that_cannot_take_it_is_refused_in_clear_words(container: Container, system: Path) -> None:
    def refused(said: str, *more: str, user: str = "pi") -> None:
        done = _over_ssh(container, system, *more, user=user)
        assert done.returncode != 0, done.stdout + done.stderr
        assert said in done.stderr
        assert container.run("test", "-e", "/opt/edgestudio-agent").returncode != 0

    refused("could not be reached over ssh", "-o", "Port=2")
    _shim(container, "uname", "echo armv7l")
    refused("is armv7l; the agent runs on 64-bit")
    (container.root / "usr/local/bin/uname").unlink()
    _shim(container, "python3", "echo 3.9")
    refused("has Python 3.9; the agent runs on Python 3.10 to 3.13")
    (container.root / "usr/local/bin/python3").unlink()
    container.run("mount", "-t", "tmpfs", "-o", "size=40m,mode=1777", "tmpfs", "/tmp")
    refused("MB free for temporary files; 200 are needed")
    container.run("umount", "/tmp")
    container.run("mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", "/opt")
    refused("MB are free on /opt; the agent and its libraries need")
    container.run("umount", "/opt")
    container.run("rm", "/etc/sudoers.d/pi")
    refused("sudo: a password is required")
