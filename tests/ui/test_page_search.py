"""The page that is exported searches as the window does: its search runs here beside the window's own, on one graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtQml import QJSEngine, QJSValue

from edgestudio.assets import resource
from edgestudio.model.graph import Graph, Node, Tensor
from edgestudio.model.picture import page
from edgestudio.model.picture.layout import lay_out
from edgestudio.model.query import QueryError, parse


def _graph() -> Graph:
    tensors = (
        Tensor("images", "float32", ("N", 3, 32, 32), "activation"),
        Tensor("stem.weight", "float32", (64, 3, 7, 7), "constant"),
        Tensor("a", "float32", ("N", 64, 16, 16), "activation"),
        Tensor("b", "int8", ("N", 64, 16, 16), "activation"),
        Tensor("head weight", "float32", (64, 10), "constant"),
        Tensor("c", "float32", None, "activation"),
    )
    nodes = (
        Node("stage1/conv", "Conv", (0, 1), (2,), {"kernel_shape": (7, 7), "group": 1, "auto_pad": "SAME_UPPER"},
             macs=2_400_000),
        Node("stage1/quantise", "QuantizeLinear", (2,), (3,), {"axis": 1, "scale": float("nan")}, macs=0),
        Node("two words", "Gemm", (3, 4), (5,), {"alpha": 1.0}, scope="head", macs=640),
        Node("odd (one) [x]+", "Fused", (5, -1), (5,), {}, domain="com.example"),
    )  # fmt: skip
    return Graph("main", nodes, tensors, (0,), (5,))


@pytest.fixture(scope="module")
def page_search() -> tuple[QJSEngine, QJSValue]:
    engine = QJSEngine()
    nodes = json.dumps([page._node(_graph(), node) for node in _graph().nodes], allow_nan=False)
    program = resource("page", "search.js").read_text("utf-8")
    asked = f"""{program}
    const nodes = {nodes};
    (text => {{
        try {{
            const query = understand(text);
            return JSON.stringify(nodes.map((node, i) => query.fits(node) ? i : -1).filter(i => i >= 0));
        }}
        catch (problem) {{ if (!problem.hint) throw problem; return "refused: " + problem.message; }}
    }})"""
    found = engine.evaluate(asked)
    assert not found.isError(), found.toString()
    return engine, found


@pytest.mark.parametrize(
    "text",
    [
        "op:Conv k>3", "op:conv k>7", "op:*Linear", "conv", "STAGE1", 'name:"two words"', "name:stage1/*",
        "shape:*,64,*", "shape:N,64,16,16", "shape:?,64,?,?", "shape:64x10",
        "outshape:*,64,*", "shape:>40,*", "shape:*,<5,*",
        "attr:group>1", "attr:group>=1", "attr:axis",
        "attr:auto_pad=same*", "attr:auto_pad!=valid", "axis=1",
        "dtype:int8", "macs>1M", "macs<=640", "params>=10k", "params<1k",
        "bytes>0", "inputs=2", "inputs<2", "rank=4",
        "-op:Conv", "-shape:*,64,*", "op:Conv | op:Gemm", "op:Conv k>9 | dtype:int8", "scope:head",
        "domain:com.example",
        "domain:ai.onnx", "tensor:*weight", "input:images", "output:c", "odd (one)", '"[x]+"', "g<2", "no such thing",
    ],
)  # fmt: skip
def test_the_page_finds_what_the_window_finds(page_search: tuple[QJSEngine, QJSValue], text: str) -> None:
    answer = page_search[1].call([QJSValue(text)]).toString()
    assert json.loads(answer) == parse(text).matches(_graph())


@pytest.mark.parametrize(
    "text",
    ["op:", "size>", "k>three", "bogus:Conv", "bogus>1", 'name:"x', "| op:Conv", "op:Conv |", "shape:a-b"],
)
def test_the_page_refuses_in_the_same_words(page_search: tuple[QJSEngine, QJSValue], text: str) -> None:
    answer = page_search[1].call([QJSValue(text)]).toString()
    with pytest.raises(QueryError) as refused:
        parse(text)
    assert answer == f"refused: {refused.value.sentence}"


def test_a_page_holds_its_search_and_only_finite_numbers(tmp_path: Path) -> None:
    page.write_page(_graph(), lay_out(_graph()), tmp_path / "graph.html", "a </script> name")
    text = (tmp_path / "graph.html").read_text("utf-8")
    assert "function understand(" in text
    assert "@SEARCH@" not in text
    data = text.split('type="application/json">')[1].split("</script>")[0]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
