"""Pipelines with a source of their own, pushed from a desk: the board infers on it, and acts, by itself."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.digits import digits
from tests.e2e.parts import CALIBRATION, MODEL, PIPELINE, Board, Desk, free_port


def pushed(desk: Desk, pi: Board, folder: Path, changes: dict[str, Any], *more: object) -> dict[str, Any]:
    assert desk.run("pair", pi.address, "--code", pi.code).status == 0
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(PIPELINE.read_text()), **changes}))
    answer = desk.run("push", MODEL, "--to", pi.address, "--pipeline", path, "--name", "digits", *more)
    assert answer.status == 0, answer.said()
    return answer.last


def watched(desk: Desk, pi: Board, seconds: int) -> list[dict[str, Any]]:
    records = desk.run("watch", pi.address, "--for", seconds)
    assert records.status == 0, records.said()
    return records.lines


def test_a_film_beside_the_pipeline_plays_on_the_board(desk, board, tmp_path):
    cv2 = pytest.importorskip("cv2")
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
    for item in digits()[:8]:
        frame = cv2.resize(item.astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
        film.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    film.release()
    pi = board()
    source = {"kind": "camera", "device": "film.avi", "loops": True, "rate_hz": 20}
    pushed(desk, pi, tmp_path, {"source": source}, "--on", "cuda", "cpu")
    records = watched(desk, pi, 12)
    windows = [record for record in records if record["k"] == "win"]
    assert sum(window["n"] for window in windows) > 0, records
    assert not [record for record in records if record.get("name") == "source.failed"]
    # What was asked for and is not there is told in every window.
    assert any(window["cnt"].get("cpu_fallback_nodes") for window in windows), windows
    told = desk.run("devices", "--wait", "3")
    assert told.status == 0, told.said()


def test_a_picture_that_is_posted_on_the_board_is_answered_and_logged(desk, board, tmp_path):
    pi, port = board(), free_port()
    changes = {
        "source": {"kind": "http", "port": port},
        "actions": [{"kind": "log", "text": "a {label}", "level": "warning"}],
        "cache": {"entries": 8},
    }
    pushed(desk, pi, tmp_path, changes, "--golden", CALIBRATION)
    token = pi.data / "local" / "digits.token"
    deadline = time.monotonic() + 30
    while not token.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    picture = io.BytesIO()
    Image.fromarray(digits()[0].astype(np.uint8)).save(picture, "PNG")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/infer", data=picture.getvalue(), method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 401
    refused.value.close()
    request.add_header("Authorization", f"Bearer {token.read_text().strip()}")
    answers = []
    with desk.start("watch", pi.address, "--for", 15) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()  # it hears what comes from here on
        for _ in range(2):
            with urllib.request.urlopen(request, timeout=20) as answer:
                answers.append(json.load(answer))
        said, _ = watching.communicate(timeout=60)
    records = [json.loads(line) for line in (first + said).splitlines()]
    assert answers[0]["label"] == answers[1]["label"]
    assert f"a {answers[0]['label']}" in [record.get("text") for record in records]
    counts = [record["cnt"] for record in records if record["k"] == "win"]
    assert sum(count.get("cached", 0) for count in counts) >= 1, counts
    assert sum(count.get("action_sent", 0) for count in counts) >= 2, counts
