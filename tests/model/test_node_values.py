"""Numbers and words per node from files of every kind, and what is no such file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.node_values import by_node, read_values
from edgestudio.wire.errors import InputError


@pytest.fixture
def graph() -> Graph:
    tensors = tuple(Tensor(name, "float32", (1,)) for name in ("x", "c:0", "y"))
    nodes = (Node("conv", "CONV_2D", (0,), (1,)), Node("", "RELU", (1,), (2,)))
    return Graph("", nodes, tensors, (0,), (2,))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"conv": 1.5, "y": 2}, [1.5, 2.0]),
        ({"0": 1.5, "1": 2}, [1.5, 2.0]),
        (
            {"results": {"c:0": {"value": 3, "bgColor": "red"}, "y": {"value": 4}}, "thresholds": []},
            [3.0, 4.0],
        ),
        ({"main": {"results": {"conv": {"value": 5}}, "gradient": []}}, [5.0, None]),
        ({"conv": {"value": 6}, "y": {"value": 7, "textColor": "red"}}, [6.0, 7.0]),
        ([{"name": "conv", "ms": 8}, {"name": "y", "ms": 9}], [8.0, 9.0]),
        ({"operators": [{"name": "fused conv", "mean_ms": 1}, {"name": "conv", "mean_ms": 2}]}, [3.0, None]),
        ({"placement": {"nodes": {"CONV_2D#0": "XNNPACK", "RELU#1": "CPU"}}}, ["XNNPACK", "CPU"]),
    ],
)
def test_json(tmp_path: Path, graph: Graph, document: Any, expected: list[Any]) -> None:
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps(document))
    assert by_node(graph, read_values(path)[0].values) == expected


def test_columns_have_titles_and_units(tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    path.write_text("#,Name,Operator,Latency (ms),Peak B,Where\n0,conv,Conv,1.5,12,NPU\n1,relu,Relu,,8,CPU\n")
    found = read_values(path)
    assert [(each.title, each.unit, dict(each.values)) for each in found] == [
        ("Latency", "ms", {"conv": 1.5}),
        ("Peak", "B", {"conv": 12.0, "relu": 8.0}),
        ("Where", "", {"conv": "NPU", "relu": "CPU"}),
    ]
    path.write_text("conv;2\nrelu;3\n")
    assert dict(read_values(path)[0].values) == {"conv": 2.0, "relu": 3.0}
    path.write_text("layer\tunit\nconv\tNPU\n")
    assert (read_values(path)[0].title, read_values(path)[0].is_words) == ("profile", True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_write(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("node;ms\nconv,1;1,5\nrelu;-2,25E1\n", encoding)
    assert dict(read_values(path)[0].values) == {"conv,1": 1.5, "relu": -22.5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        "{}",
        "[1]",
        '{"a": [1]}',
        '{"a": null}',
        "a\nb\n",
        '{"results": {"a": {}}}',
        "\0\1",
        "[" * 9999,
        '{"a": ' + "9" * 400 + "}",
    ],
)
def test_what_is_no_such_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_values(path)
    assert "bad.json" in caught.value.message
    assert caught.value.hint
