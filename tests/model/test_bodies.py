"""Bodies of loops and branches: OpenVINO's maps of ports, and networks inside of Core ML networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgestudio.model.formats.openvino_shapes import infer_shapes
from edgestudio.model.graph import Model
from edgestudio.model.inspection import analysed, inspect_file
from edgestudio.model.reading import read_model
from edgestudio.model.totals.analysis import analyse
from edgestudio.wire.errors import ModelError
from tests.runtime.test_protobuf import varint

DIMS = "<dim>-1</dim>"


def layer(key: int, kind: str, inputs: int = 0, dims: str = DIMS, data: str = "", name: str = "") -> str:
    ins = "".join(f'<port id="{at}"/>' for at in range(inputs))
    outs = f'<output><port id="9" precision="FP32">{dims}</port></output>' if kind != "Result" else ""
    return (
        f'<layer id="{key}" name="{name or f"{kind}_{key}"}" type="{kind}" version="opset1"><data {data}/>'
        f"{f'<input>{ins}</input>' if inputs else ''}{outs}</layer>"
    )


def edges(*pairs: tuple[int, int, int]) -> str:
    return "".join(
        f'<edge from-layer="{a}" from-port="9" to-layer="{b}" to-port="{port}"/>' for a, b, port in pairs
    )


STATE, STEP = "<dim>-1</dim><dim>16</dim>", "<dim>-1</dim><dim>1</dim><dim>16</dim>"
WEIGHT = 'element_type="f32" shape="16, 16" offset="0" size="1024"'
ITERATOR = f"""
<layer id="2" name="steps" type="TensorIterator" version="opset1"><data/>
<port_map><input axis="1" external_port_id="0" internal_layer_id="1" start="0" end="-1" stride="1" part_size="1"/>
<input external_port_id="1" internal_layer_id="0"/>
<output external_port_id="8" internal_layer_id="6"/>
<output axis="1" external_port_id="7" internal_layer_id="5" start="0" end="-1" stride="1" part_size="1"/></port_map>
<back_edges><edge from-layer="6" to-layer="0"/></back_edges>
<input><port id="0"/><port id="1"/></input>
<output><port id="7" precision="FP32"><dim>-1</dim><dim>-1</dim><dim>16</dim></port>
<port id="8" precision="FP32">{STATE}</port></output>
<body><layers>{layer(0, "Parameter", dims=STATE)}{layer(1, "Parameter", dims=STEP)}
{layer(2, "Const", dims="<dim>16</dim><dim>16</dim>", data=WEIGHT)}
{layer(3, "MatMul", 2, dims=STATE, data='transpose_a="false" transpose_b="false"')}
{layer(4, "Add", 2, dims="<dim>-1</dim><dim>-1</dim><dim>16</dim>")}
{layer(5, "Result", 1)}{layer(6, "Result", 1)}</layers>
<edges>{edges((0, 3, 0), (2, 3, 1), (3, 4, 0), (1, 4, 1), (4, 5, 0), (3, 6, 0))}</edges></body></layer>"""


def iterator(path: Path) -> Model:
    path.write_text(
        f"""<net name="made" version="11"><layers>
        {layer(0, "Parameter", dims="<dim>-1</dim><dim>-1</dim><dim>16</dim>", name="x")}
        {layer(1, "Parameter", dims=STATE, name="h")}{ITERATOR}
        {layer(3, "Result", 1)}{layer(4, "Result", 1)}</layers>
        <edges>{edges((0, 2, 0), (1, 2, 1))}
        <edge from-layer="2" from-port="7" to-layer="3" to-port="0"/>
        <edge from-layer="2" from-port="8" to-layer="4" to-port="0"/></edges></net>"""
    )
    path.with_suffix(".bin").write_bytes(bytes(1024))
    return read_model(path)


def test_set_sizes_go_through_an_iterator_cut_into_steps_and_joined_again(tmp_path: Path) -> None:
    model = iterator(tmp_path / "steps.xml")
    bound = infer_shapes(model, {"x:0": 1, "x:1": 7, "h:0": 1})
    assert [bound.main.tensors[at].shape for at in bound.main.outputs] == [(1, 7, 16), (1, 16)]
    body = bound.graphs[1]
    assert [body.tensors[at].shape for at in body.inputs] == [(1, 16), (1, 1, 16)]
    assert analyse(bound, bound).macs == 7 * 16 * 16
    assert analyse(infer_shapes(model, {"h:0": 1, "x:0": 1}), None).macs is None


def test_a_map_of_ports_that_names_nothing_leaves_shapes_open(tmp_path: Path) -> None:
    path = tmp_path / "steps.xml"
    iterator(path)
    text = path.read_text()
    for old, new in (
        ('internal_layer_id="1"', 'internal_layer_id="77"'),
        ('external_port_id="0"', 'external_port_id="-5"'),
        ('axis="1"', 'axis="9"'),
        ('part_size="1"', 'part_size="0"'),
    ):
        path.write_text(text.replace(old, new))
        bound = infer_shapes(read_model(path), {"x:0": 2, "x:1": 7, "h:0": 2})
        assert len(bound.graphs) == 2


def field(number: int, body: bytes | str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return varint(number << 3 | 2) + varint(len(body)) + body


def number(key: int, value: int) -> bytes:
    return varint(key << 3) + varint(value)


def network_layer(name: str, inputs: list[str], outputs: list[str], kind: int, params: bytes = b"") -> bytes:
    texts = b"".join(field(2, text) for text in inputs) + b"".join(field(3, text) for text in outputs)
    return field(1, field(1, name) + texts + field(kind, params))


def dense(name: str, source: str, target: str) -> bytes:
    weights = field(20, field(1, bytes(64)))
    return network_layer(name, [source], [target], 140, number(1, 4) + number(2, 4) + weights)


def copy(name: str, source: str, target: str) -> bytes:
    return network_layer(name, [source], [target], 600)


LOOP, BRANCH = 615, 605


def core_ml(path: Path, layers: bytes) -> Path:
    array = field(5, field(1, varint(4)) + number(2, 65568))
    ends = field(1, field(1, "x") + field(3, array)) + field(10, field(1, "y") + field(3, array))
    path.write_bytes(number(1, 4) + field(2, ends) + field(500, layers))
    return path


def test_a_loop_of_a_network_is_a_graph_that_carries_a_value_round(tmp_path: Path) -> None:
    body = dense("fc", "v", "t") + copy("back", "t", "v")
    loop = network_layer("loop", [], [], LOOP, number(1, 5) + field(3, b"") + field(4, body))
    path = core_ml(tmp_path / "loop.mlmodel", copy("start", "x", "v") + loop + copy("end", "v", "y"))
    model = read_model(path)
    start, node, end = model.main.nodes
    (inside,) = (model.graphs[at] for at in node.subgraphs)
    assert [each.op for each in inside.nodes] == ["innerProduct", "copy"]
    assert node.inputs == start.outputs
    assert end.inputs[0] in node.outputs, "after the loop its value is read, not the one before"
    assert inside.nodes[0].inputs[0] == inside.inputs[0] != inside.nodes[1].outputs[0]
    assert inspect_file(path)["macs"] == 5 * 16
    assert analysed(path).parameters == 16


def test_a_branch_of_a_network_gives_what_its_sides_write(tmp_path: Path) -> None:
    sides = field(1, dense("one", "x", "y")) + field(2, copy("other", "x", "y"))
    path = core_ml(tmp_path / "branch.mlmodel", network_layer("either", ["x"], [], BRANCH, sides))
    model = read_model(path)
    (node,) = model.main.nodes
    assert [model.graphs[at].nodes[0].op for at in node.subgraphs] == ["innerProduct", "copy"]
    assert node.outputs == model.main.outputs
    assert inspect_file(path)["macs"] == 16


def test_networks_within_networks_without_end_are_refused(tmp_path: Path) -> None:
    layers = copy("end", "x", "y")
    for depth in range(60):
        layers = network_layer(f"branch{depth}", ["x"], [], BRANCH, field(1, layers))
    with pytest.raises(ModelError, match="nested too deeply"):
        read_model(core_ml(tmp_path / "deep.mlmodel", layers))
