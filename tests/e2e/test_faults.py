"""What goes wrong out there: killed, stopped, full, refused; a sentence each, and the old model serves on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.parts import CALIBRATION, DOOR, MODEL, PIPELINE, Board, Desk

EXTRAS = ("--pipeline", PIPELINE, "--golden", CALIBRATION, "--name", "digits")


def pushed(desk: Desk, pi: Board, model: Path = MODEL) -> dict:
    """The board paired and serving `model`; what the push said last."""
    paired = desk.run("pair", pi.address, "--code", pi.code)
    assert paired.status == 0, paired.said()
    done = desk.run("push", model, "--to", pi.address, *EXTRAS)
    assert done.status == 0, done.said()
    return done.last


def active(desk: Desk, pi: Board) -> list[str]:
    """The hashes of what the board runs, asked over the network."""
    (device,) = [
        entry for entry in desk.run("devices", "--wait", "1").json["devices"] if entry["name"] == pi.name
    ]
    assert device["online"] is True, device
    return [entry["sha256"] for entry in device["active"]]


def kill_during(desk: Desk, pi: Board, model: Path, step: str) -> None:
    """Push, and SIGKILL the agent as soon as `step` is running."""
    push = desk.start("push", model, "--to", pi.address, *EXTRAS)
    assert push.stdout is not None
    assert push.stderr is not None
    for line in push.stdout:
        if json.loads(line).get("state") == f"{step}: running":
            break
    pi.send(signal.SIGKILL)
    out, err = push.communicate(timeout=100)
    assert push.returncode == 3, out + err
    last = json.loads(out.splitlines()[-1])
    assert last["state"] == "failed"
    assert last["reason"]
    assert "Traceback" not in err
    pi.wait_until_dead()


@pytest.mark.parametrize("step", ["transfer", "trial"])
def test_kill_in_the_middle_of_a_push_then_the_old_model_serves_and_a_second_push_succeeds(
    desk, board, variant, step
):
    pi = board()
    pushed(desk, pi)
    before = active(desk, pi)
    kill_during(desk, pi, variant, step)
    pi.start()
    assert active(desk, pi) == before
    again = desk.run("push", variant, "--to", pi.address, *EXTRAS)
    assert again.status == 0, again.said()
    assert active(desk, pi) != before


def test_a_board_that_goes_silent_mid_push_is_said_to_be_gone(desk, board, variant):
    pi = board()
    pushed(desk, pi)
    push = desk.start("push", variant, "--to", pi.address, *EXTRAS)
    assert push.stdout is not None
    for line in push.stdout:
        if json.loads(line).get("state") == "trial: running":
            break
    pi.send(signal.SIGSTOP)
    out, err = push.communicate(timeout=110)
    assert push.returncode == 3, out + err
    assert json.loads(out.splitlines()[-1])["state"] == "failed"


def test_a_wrong_code_is_refused_and_the_right_one_still_works(desk, board):
    pi = board()
    wrong = desk.run("pair", pi.address, "--code", "1-WRONG-WORDS")
    assert wrong.status in (2, 3), wrong.said()
    assert wrong.json["error"]["hint"]
    right = desk.run("pair", pi.address, "--code", pi.code)
    assert right.status == 0, right.said()


def test_nobody_there(desk):
    answer = desk.run("pair", "127.0.0.1:9", "--code", "7-CANYON-LAMP")
    assert answer.status == 3, answer.said()
    assert answer.json["error"]["hint"]
    answer = desk.run("push", MODEL, "--to", "no-such-board")
    assert answer.status == 3, answer.said()


def test_a_port_in_use_is_said_in_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = subprocess.run(
            [*DOOR, "agent", "--host", "127.0.0.1", "--port", str(port), "--data", str(tmp_path / "b"),
             "--name", "second", "--simulate", "pi5"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert said.returncode in (2, 3), said.stdout + said.stderr
    assert str(port) in said.stdout + said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk"
)
def test_a_full_disk_refuses_the_push_and_the_board_lives_on(desk, board, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let root mount a tmpfs")
    pi = None
    try:
        pi = board(data=disk)
        assert desk.run("pair", pi.address, "--code", pi.code).status == 0
        refused = desk.run("push", MODEL, "--to", pi.address, *EXTRAS)
        assert refused.status == 3, refused.said()
        assert "space" in refused.last["reason"] or "disk" in refused.last["reason"], refused.said()
        assert active(desk, pi) == []
    finally:
        if pi is not None:
            pi.send(signal.SIGTERM)
            assert pi.process is not None
            pi.process.wait(20)
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_file_that_changes_while_it_is_read_is_refused_or_read_whole(desk, tmp_path):
    model = tmp_path / "growing.onnx"
    shutil.copy(MODEL, model)
    stop = threading.Event()

    def grow() -> None:
        with model.open("ab") as file:
            while not stop.is_set():
                file.write(b"\0" * 1_000_000)
                file.flush()
                if file.tell() > 300_000_000:
                    file.truncate(0)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        answer = desk.run("optimize", model, "--recipe", "fp16", "--out", tmp_path / "out")
    finally:
        stop.set()
        writer.join()
    assert answer.status == 2, answer.said()
    assert answer.json["error"]["message"]
    assert not (tmp_path / "out").exists()
    assert not [path for path in (desk.home / "library").glob("*") if len(path.name) == 64]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="network namespaces are Linux's")
def test_without_any_network_interface(desk):
    without = ("unshare", "--map-root-user", "--net")
    if subprocess.run([*without, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a process leave the network")
    seen = desk.run("devices", "--wait", "1", prefix=without)
    assert seen.status == 0 or seen.json["error"]["hint"], seen.said()
    checked = desk.run("doctor", prefix=without)
    assert checked.status == 0, checked.said()
    assert any(check["ok"] is False for check in checked.json["checks"]), checked.said()
    inspected = desk.run("inspect", MODEL, prefix=without)
    assert inspected.status == 0, inspected.said()
