"""The main job through the command line: look, shrink, pair, push, watch, roll back, on real parts."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.parts import CALIBRATION, MODEL, PIPELINE, TEST_DATA

PUSH_EXTRAS = ("--pipeline", PIPELINE, "--golden", CALIBRATION, "--name", "digits")


def test_sample_is_what_it_says(desk):
    seen = desk.run("inspect", MODEL)
    assert seen.status == 0, seen.said()
    assert seen.json["format"] == "onnx"
    assert seen.json["parameters"] > 270_000
    assert [entry["name"] for entry in seen.json["inputs"]] == ["image"]
    assert seen.json["size_bytes"] == MODEL.stat().st_size


def test_int8_keeps_the_digits_and_cuts_the_size(desk, variant):
    assert variant.stat().st_size < 0.5 * MODEL.stat().st_size
    right = desk.run("evaluate", variant, "--data", TEST_DATA, "--pipeline", PIPELINE)
    assert right.status == 0, right.said()
    assert right.json["n"] == 450
    assert right.json["top1"] > 0.97


def test_pair_push_watch_roll_back(desk, board, variant):
    pi = board()
    seen = desk.run("devices", "--wait", "4")
    (device,) = [entry for entry in seen.json["devices"] if entry["name"] == pi.name]
    assert (device["paired"], device["online"]) == (False, None)
    assert device["simulated"] is True

    paired = desk.run("pair", pi.name, "--code", pi.code)
    assert paired.status == 0, paired.said()
    assert paired.json["id"] == device["id"]

    first = desk.run("push", MODEL, "--to", pi.name, *PUSH_EXTRAS)
    assert first.status == 0, first.said()
    assert first.last["state"] == "committed"
    states = [line["state"] for line in first.lines[:-1]]
    assert states[0] == "preflight: running"
    assert "trial: done" in states

    second = desk.run("push", variant, "--to", pi.address, *PUSH_EXTRAS)
    assert second.status == 0, second.said()
    assert second.last["previous"] == first.last["active"]

    records = desk.run("watch", pi.name, "--for", "15")
    assert records.status == 0, records.said()
    windows = [line for line in records.lines if line["k"] == "win"]
    assert windows, records.said()
    assert all(line["sim"] for line in windows)
    assert sum(line["n"] for line in windows) > 0

    back = desk.run("rollback", pi.name)
    assert back.status == 0, back.said()
    assert back.json["active"] == first.last["active"]

    gone = desk.run("unpair", pi.name)
    assert gone.json["told"] is True
    refused = desk.run("push", variant, "--to", pi.name, *PUSH_EXTRAS)
    assert refused.status == 3


def test_a_board_is_benchmarked_and_evaluated_where_it_is(desk, board):
    pi = board()
    assert desk.run("pair", pi.address, "--code", pi.code).status == 0
    assert desk.run("push", MODEL, "--to", pi.address, *PUSH_EXTRAS).status == 0
    measured = desk.run("bench", "--device", pi.address)
    assert measured.status == 0, measured.said()
    assert measured.json["latency_ms"]["p50"] > 0
    right = desk.run("evaluate", "--device", pi.address, "--data", CALIBRATION)
    assert right.status == 0, right.said()
    assert right.json["n"] == 200
    assert right.json["top1"] > 0.97


def test_optimize_leaves_artifact_and_lineage(desk, tmp_path):
    made = desk.run("optimize", MODEL, "--recipe", "fp16", "--out", tmp_path / "out")
    assert made.status == 0, made.said()
    assert Path(made.json["artifact"]).parent == tmp_path / "out"
    assert made.json["after"]["size_bytes"] < made.json["before"]["size_bytes"]
    assert len(made.json["parent"]) == 64


def test_difference_and_fit_are_said(desk, variant):
    same = desk.run("diff", MODEL, MODEL)
    assert same.status == 0, same.said()
    assert same.json["identical"] is True
    other = desk.run("diff", MODEL, variant)
    assert other.json["identical"] is False
    assert other.json["added"]
    fits = desk.run("check", MODEL, "--target", "pi5")
    assert fits.status == 0, fits.said()
    assert {entry["op"] for entry in fits.json["operators"]} >= {"Conv", "Gemm"}
    nowhere = desk.run("check", MODEL, "--target", "nonsense")
    assert nowhere.status == 2
    assert nowhere.json["error"]["hint"]
