"""A format that only Netron reads opens like any other; what nobody reads is refused in our own words."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from edgestudio.model.graph import load
from edgestudio.studio.library.reading import has_netron
from edgestudio.wire.errors import InputError, ModelError
from tests.studio.test_models import in_studio

DARKNET = """[net]
width=32
height=32
channels=3
[convolutional]
filters=16
size=3
stride=1
activation=leaky
[maxpool]
size=2
stride=2
[connected]
output=10
activation=linear
"""
needs_netron = pytest.mark.skipif(not has_netron(), reason="the extra `netron-view` is not installed")


@needs_netron
def test_netrons_reader_feeds_our_own_graph(tmp_path):
    file = tmp_path / "net.cfg"
    file.write_text(DARKNET)

    async def scenario(studio):
        row = await studio.models.open(file)
        assert row.format == "darknet"
        assert row.summary["read_by"] == "netron"
        assert row.summary["macs"] is None
        assert [node.op for node in load(Path(row.graph_path)).main.nodes][:2] == ["convolutional", "maxpool"]
        assert Path(row.layout_path).exists()
        assert [job.state for job in studio.jobs.rows] == ["done", "done"]
        summary = await studio.models.inspect(file)
        assert summary["operators"] == row.summary["operators"]

    in_studio(scenario)


@needs_netron
def test_what_netron_does_not_know_either_is_refused(tmp_path):
    file = tmp_path / "noise.bin"
    file.write_bytes(os.urandom(4096))

    async def scenario(studio):
        with pytest.raises(ModelError) as caught:
            await studio.models.open(file)
        assert caught.value.code == "unknown-format"
        assert "Netron does not know it either" in caught.value.message
        assert not list(studio.paths.jobs.glob("netron-*"))

    in_studio(scenario)


@needs_netron
def test_the_view_ends_with_the_studio(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")

    async def scenario(studio):
        row = await studio.models.open_sample()
        pid = await studio.viewers.open_in_netron(row.sha256)
        await asyncio.sleep(1.0)
        assert psutil.pid_exists(pid)
        return pid

    pid, _ = in_studio(scenario)
    assert not psutil.pid_exists(pid)


def test_without_the_extra_the_view_says_what_to_install(monkeypatch):
    monkeypatch.setattr("edgestudio.studio.viewers.has_netron", lambda: False)

    async def scenario(studio):
        row = await studio.models.open_sample()
        with pytest.raises(InputError, match="not installed") as caught:
            await studio.viewers.open_in_netron(row.sha256)
        assert caught.value.code == "needs-netron-view"

    in_studio(scenario)
