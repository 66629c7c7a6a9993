"""The search language: what it finds, and what it says when it cannot understand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.query import QueryError, parse

GRAPH = Graph(
    "net",
    nodes=(
        Node(
            "stem/conv",
            "Conv",
            (0, 1),
            (2,),
            {"kernel_shape": [3, 3], "group": 1},
            scope="stem",
            macs=1_000_000,
        ),
        Node("stem/depthwise", "Conv", (2, 3), (4,), {"kernel_shape": [5, 5], "group": 64}, macs=50),
        Node("act one", "Relu", (4,), (5,)),
        Node("head", "Gemm", (5, 6), (7,), {"transB": 1, "mode": "linear"}, domain="com.microsoft"),
        Node("pool", "MaxPool", (5,), (8,), {"kernel_shape": [2, 2]}),
    ),
    tensors=(
        Tensor("image", "float32", ("N", 3, 32, 32), "input"),
        Tensor("stem.weight", "float32", (64, 3, 3, 3), "constant"),
        Tensor("t2", "float32", ("N", 64, 16, 16)),
        Tensor("dw.weight", "int8", (64, 1, 5, 5), "constant"),
        Tensor("t4", "float32", ("N", 64, 8, 8)),
        Tensor("t5", "float32", ("N", 64, 8, 8)),
        Tensor("head.weight", "float32", (10, 4096), "constant"),
        Tensor("logits", "float32", ("N", 10), "output", 40),
        Tensor("pooled", "float32", None),
    ),
    inputs=(0,),
    outputs=(7,),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("conv", [0, 1]),
        ("op:conv k>3", [1]),
        ("op:Conv | op:Gemm", [0, 1, 3]),
        ("op:*pool", [4]),
        ("-op:Conv", [2, 3, 4]),
        ("attr:group>1", [1]),
        ("attr:group=1", [0]),
        ("attr:transB", [3]),
        ("attr:mode=linear", [3]),
        ("attr:mode!=cubic", [3]),
        ("shape:*,64,*", [0, 1, 2, 3, 4]),
        ("shape:64,*", [0, 1]),
        ("shape:?,10", [3]),
        ("shape:N,3,32,32", [0]),
        ("shape:*,>=4096", [3]),
        ("shape:10x4096", [3]),
        ("name:stem/*", [0, 1]),
        ('name:"act one"', [2]),
        ('"act one"', [2]),
        ("scope:stem", [0]),
        ("domain:com.microsoft", [3]),
        ("domain:ai.onnx op:relu", [2]),
        ("dtype:int8", [1]),
        ("input:image", [0]),
        ("output:logits", [3]),
        ("tensor:*.weight", [0, 1, 3]),
        ("macs>=1M", [0]),
        ("macs<100", [1]),
        ("params>1.7k", [0, 3]),
        ("bytes=40", [3]),
        ("rank=2", [3]),
        ("inputs=2 -op:Conv", [3]),
        ("nothing-like-this", []),
    ],
)
def test_finds(text: str, expected: list[int]) -> None:
    assert parse(text).matches(GRAPH) == expected


@pytest.mark.parametrize(
    ("text", "says", "position"),
    [
        ("colour:red", "not something to search by", 0),
        ("op:", "Nothing follows", 0),
        ("op:Conv k>big", "A number was expected", 10),
        ("size>3", "not a number of a node", 0),
        ('op:Conv name:"half', "never closed", 13),
        ("| op:Conv", "Nothing stands before", 0),
        ("op:Conv |", "Nothing stands after", 8),
        ("shape:1,,2", "is not a shape", 0),
        ("attr:group>x", "A number was expected", 6),
    ],
)
def test_says_what_it_does_not_understand(text: str, says: str, position: int) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        parse(text)
    assert caught.value.hint
    if position:
        assert caught.value.position >= 0


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused_with_a_hint(text: str) -> None:
    refused: QueryError | None = None
    try:
        parse(text).matches(GRAPH)
    except QueryError as error:
        refused = error
    assert refused is None or (refused.hint and 0 <= refused.position <= len(text))
