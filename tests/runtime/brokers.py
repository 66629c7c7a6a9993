"""Real MQTT brokers on loopback, each as its own makers start it; a test that needs one that is not here is skipped."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE

BROKERS = ("mosquitto", "ejabberd")
USERNAME, PASSWORD = "board", "pa55"
WHO = {"username": USERNAME, "password": PASSWORD}
"""Who is let in by every broker here; ejabberd, unlike Mosquitto, lets nobody in without a name."""


@dataclasses.dataclass(frozen=True)
class Tls:
    """Files (PEM) by which a broker proves who it is, and whose certificates its clients must bring."""

    authority: Path
    certificate: Path
    key: Path


@contextmanager
def broker(name: str, folder: Path, *, port: int = 0, tls: Tls | None = None) -> Iterator[int]:
    """The broker of that name, one of `BROKERS`, which asks for `WHO`; gives its port."""
    pytest.importorskip("aiomqtt")
    if name == "ejabberd":
        with _ejabberd(folder, port or _free_port(), tls) as found:
            yield found
        return
    more = []
    if tls is not None:
        more = [f"cafile {tls.authority}", f"certfile {tls.certificate}", f"keyfile {tls.key}",
                "require_certificate true"]  # fmt: skip
    with mosquitto(folder, port=port, more=more, password=PASSWORD) as found:
        yield found


@contextmanager
def mosquitto(
    folder: Path, *, password: str | None = None, port: int = 0, more: Sequence[str] = ()
) -> Iterator[int]:
    """Mosquitto with `more` lines in its configuration; gives its port. Without a password all are let in."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no mosquitto here")
    pytest.importorskip("aiomqtt")
    port = port or _free_port()
    lines = [f"listener {port} 127.0.0.1", "persistence false", f"user {getpass.getuser()}", *more]
    if password is None:
        lines.append("allow_anonymous true")
    else:
        file = folder / "passwords"
        maker = shutil.which("mosquitto_passwd")
        if maker is None:
            pytest.skip("no mosquitto_passwd here")
        subprocess.run([maker, "-b", "-c", str(file), USERNAME, password], check=True, capture_output=True)
        file.chmod(0o644)
        lines += ["allow_anonymous false", f"password_file {file}"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    with _running([program, "-c", str(config)], port, dict(os.environ)):
        yield port


_EJABBERD = """\
hosts: [localhost]
loglevel: error
auth_method: [mnesia]
allow_multiple_connections: true
listen:
  - port: {port}
    ip: 127.0.0.1
    module: mod_mqtt
    tls: {is_tls}
    tls_verify: {is_tls}
{files}
modules:
  mod_mqtt:
    access_publish: {{"#": [{{allow: all}}]}}
    access_subscribe: {{"#": [{{allow: all}}]}}
"""


@contextmanager
def _ejabberd(folder: Path, port: int, tls: Tls | None) -> Iterator[int]:
    """ejabberd with its MQTT module and nothing else: no service, no node name, no port but this one."""
    installed = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin/mod_mqtt.beam"))
    if not installed or shutil.which("erl") is None:
        pytest.skip(
            "no ejabberd here: on Debian apt-get install ejabberd, which also starts one as a service"
        )
    home = folder / "ejabberd"
    home.mkdir(exist_ok=True)
    files = ""
    if tls is not None:
        whole = home / "broker.pem"
        whole.write_bytes(tls.certificate.read_bytes() + tls.key.read_bytes())
        files = f"certfiles: [{whole}]\nca_file: {tls.authority}"
    config = home / "ejabberd.yml"
    config.write_text(_EJABBERD.format(port=port, is_tls=str(tls is not None).lower(), files=files))
    # Once the user exists the listener has long begun; a restart finds the user there.
    made = home / f"ready-{time.monotonic_ns()}"
    register = (
        f'ejabberd_auth:try_register(<<"{USERNAME}">>, <<"localhost">>, <<"{PASSWORD}">>),'
        f'ok = file:write_file("{made}", "")'
    )
    command = [
        "erl",
        "-noinput",
        "-mnesia",
        "dir",
        f'"{home / "spool"}"',
        "-s",
        "ejabberd",
        "-eval",
        register,
    ]
    environment = {
        **os.environ, "HOME": str(home), "ERL_LIBS": str(installed[-1].parents[2]),
        "EJABBERD_CONFIG_PATH": str(config), "EJABBERD_LOG_PATH": str(home / "log" / "ejabberd.log"),
        "ERL_CRASH_DUMP_BYTES": "0",
    }  # fmt: skip
    with _running(command, port, environment, made):
        yield port


@contextmanager
def _running(
    command: list[str], port: int, environment: dict[str, str], ready: Path | None = None
) -> Iterator[None]:
    """The process from its first answer (and the file `ready`) on; ended with the block."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        deadline = time.monotonic() + 60 * PATIENCE
        while not ((ready is None or ready.exists()) and _answers(port)):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} does not listen on {port}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
