"""Delay, loss, overtaking packets, an outage and a new address, below TCP: a real board at the end of a bad line."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.devices.bad_line import Line, bad_line
from tests.e2e.parts import DOOR, PIPELINE, Desk

NEAR, FAR, LATER = "10.77.0.1", "10.77.0.2", "10.77.0.9"
CUT_S = 20.0


@pytest.mark.timeout(240)
def test_pairing_pushing_and_watching_over_a_bad_line_with_an_outage_and_a_new_address(
    tmp_path: Path,
) -> None:
    with bad_line(f"{NEAR}/24", f"{FAR}/24") as line:
        line.lose, line.jitter_s = 0.05, 0.02
        near = line.inside(line.near)
        desk = Desk(tmp_path / "home")
        desk.environment["EDGESTUDIO_DISCOVERY_INTERFACES"] = NEAR
        board = subprocess.Popen(
            [*line.inside(line.far), *DOOR, "agent", "--data", str(tmp_path / "board"), "--simulate", "pi5",
             "--host", "0.0.0.0", "--port", "7443", "--name", "far board", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=desk.environment,
        )  # fmt: skip
        try:
            code = _code(board)
            paired = desk.run("pair", f"{FAR}:7443", "--code", code, prefix=near)
            assert paired.status == 0, paired.said()
            cutting = threading.Thread(target=_cut, args=(line, line.carried_bytes + 150_000))
            cutting.start()
            first = desk.run("push", _small_model(tmp_path, 1), "--to", "far board", *EXTRAS, prefix=near)
            cutting.join()
            assert first.status == 0, first.said()
            assert first.last["state"] == "committed"
            line.move_far_end(f"{LATER}/24")
            assert any(LATER in desk.run("devices", "--wait", "3", prefix=near).out for _ in range(8))
            with ThreadPoolExecutor(1) as beside:
                watching = beside.submit(desk.run, "watch", "far board", "--for", "20", prefix=near)
                second = desk.run(
                    "push", _small_model(tmp_path, 2), "--to", "far board", *EXTRAS, prefix=near
                )
                watched = watching.result()
            assert second.status == 0, second.said()
            assert second.last["previous"] == first.last["active"]
            assert watched.status == 0, watched.said()
            assert any(record["k"] == "win" and record["n"] for record in watched.lines), watched.said()
        finally:
            board.terminate()
            board.wait(20)
            assert board.stdout is not None
            board.stdout.close()
        assert line.dropped > 0
        assert line.overtaken > 0


EXTRAS = ("--pipeline", PIPELINE, "--name", "digits")


def _code(board: subprocess.Popen[str]) -> str:
    assert board.stdout is not None
    for text in board.stdout:
        said = json.loads(text)
        if said["event"] == "pairing":
            return str(said["code"])
    raise AssertionError("the agent ended before it could be paired")


def _cut(line: Line, at_bytes: int) -> None:
    """Nothing passes for a while, in the middle of the push."""
    for _ in range(2000):
        if line.carried_bytes >= at_bytes:
            break
        time.sleep(0.02)
    line.is_cut = True
    time.sleep(CUT_S)
    line.is_cut = False


def _small_model(folder: Path, seed: int) -> Path:
    """300 kB that say something about each picture: the line carries some 40 kB a second."""
    chance = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(chance.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (64, 1000)), ("v", (1000, 10)))
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["bent"]),
        helper.make_node("MatMul", ["bent", "v"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "small", [image], [logits], weights)
    path = folder / f"small{seed}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
