"""Examinations run in workers and come as rows: target check, difference, data, sensitivity, advice."""

from __future__ import annotations

import pytest

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
