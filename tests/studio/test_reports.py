"""Examinations run in workers and come as rows: target check, difference, data, sensitivity, advice."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.assets import resource
from edgestudio.wire.errors import InputError
from tests.studio.test_models import in_studio


def test_examinations_are_rows():
    async def scenario(studio):
        row = await studio.models.open_sample()
        variant = await studio.optimizer.optimize(row.sha256, "fp16")
        checked = await studio.reports.check(row.sha256, "pi5")
        assert checked.verdict.startswith("runs")
        assert checked.columns == ("op", "count", "status", "reason", "remedy")
        assert {cells[0] for cells in checked.rows} >= {"Conv"}
        different = await studio.reports.diff(row.sha256, variant.sha256)
        assert "difference" in different.verdict
        assert different.rows
        same = await studio.reports.diff(row.sha256, row.sha256)
        assert same.verdict == "identical"
        data = await studio.reports.doctor(row.sha256)
        assert data.verdict == "good to calibrate with"
        layers = await studio.reports.sensitivity(row.sha256)
        assert layers.result["layers"]
        assert len(layers.rows) == len(layers.result["layers"])
        again = await studio.reports.check(row.sha256, "pi5")
        assert again.id == checked.id
        assert len(studio.reports.rows) == 5
        advice = await studio.reports.advise(row.sha256, [{"pass": "fp16", "options": {}}], "x86_64")
        assert any("float32" in remark for remark in advice)

    _, events = in_studio(scenario)
    assert any(event.store == "reports" for event in events)


def test_without_data_there_is_nothing_to_examine():
    async def scenario(studio):
        row = await studio.models.open(resource("sample", "digits.onnx"))
        with pytest.raises(InputError) as caught:
            await studio.reports.doctor(row.sha256)
        assert caught.value.code == "needs-data"

    in_studio(scenario)


def foreign(path, *operators):
    """A model of operators that no runtime knows."""
    names = ["x", *(f"t{at}" for at in range(len(operators)))]
    nodes = [
        helper.make_node(op, [names[at]], [names[at + 1]], domain="own") for at, op in enumerate(operators)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.parametrize("operators", [("Magic",), ("Magic", "Wand")])
def test_what_fails_is_kept_where_it_is_wanted(tmp_path, operators):
    async def scenario(studio):
        row = await studio.models.open(foreign(tmp_path / "odd.onnx", *operators))
        report = await studio.reports.check(row.sha256, "onnxruntime")
        to = tmp_path / ("part.onnx" if len(operators) == 1 else "parts")
        written = await studio.reports.export_failing(report.id, to)
        kept = {node.op_type for each in written for node in onnx.load(each).graph.node}
        assert kept == set(operators)
        if len(operators) > 1:
            with pytest.raises(InputError) as caught:
                await studio.reports.export_failing(report.id, to)
            assert caught.value.code == "exists"
        with pytest.raises(InputError) as caught:
            await studio.reports.export_failing("check:none", to)
        assert caught.value.code == "no-part"

    in_studio(scenario)
