from __future__ import annotations

import pytest

from edgestudio.ui import wording


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (26_415, "26.4 kB"), (1_100_000, "1.10 MB")],
)
def test_size(size_bytes, text) -> None:
    assert wording.size(size_bytes) == text


@pytest.mark.parametrize(
    ("latency_ms", "text"),
    [
        (None, "–"),
        ({"p50": 0.081, "n": 9}, "0.081 ms"),
        (0.0042, "4.20 µs"),
        (12.34, "12.3 ms"),
        (1500, "1.50 s"),
        ({}, "–"),
    ],
)
def test_latency(latency_ms, text) -> None:
    assert wording.latency(latency_ms) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(100, 27, "−73 %"), (100, 110, "+10 %"), (100, 100.1, "same"), (None, 1, "")],
)
def test_change(before, after, text) -> None:
    assert wording.change(before, after) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.4 s"), (12, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_duration(seconds, text) -> None:
    assert wording.duration(seconds) == text


def test_shape_accuracy_count_and_ago() -> None:
    assert wording.shape([None, 1, 8, 8]) == "? × 1 × 8 × 8"
    assert wording.shape(()) == "scalar"
    assert wording.accuracy({"top1": 0.9889}) == "98.9 %"
    assert wording.accuracy(None) == "–"
    assert wording.count(1_240_000) == "1.24 M"
    assert wording.ago(100.0, now=103.0) == "just now"
    assert wording.ago(None) == "never"


def test_facts_leave_out_what_is_unknown() -> None:
    facts = dict(
        wording.facts({"format": "onnx", "opsets": {"": 17}, "parameters": None, "macs": 0, "nodes": 3})
    )
    assert facts == {"Format": "ONNX", "Version": "ai.onnx 17", "MACs": "0", "Nodes": "3"}
