"""Models through the real worker: opened once, kept across restarts, refused in a sentence."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgestudio.assets import resource
from edgestudio.model.graph import load
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import EdgeStudioError, InputError, ModelError

SAMPLE = Path(resource("sample", "digits.onnx"))


def in_studio(scenario):
    """Run an async function with a fresh studio on this test's home; returns its result and the events."""

    async def run():
        studio = Studio()
        events = []
        studio.bus.subscribe(events.append)
        await studio.start(discover=False)
        try:
            return await scenario(studio), events
        finally:
            await studio.stop()

    return asyncio.run(run())


def test_a_model_opens_early_then_whole_and_stays(tmp_path):
    model = tmp_path / "net.onnx"
    shutil.copy(SAMPLE, model)

    async def first(studio):
        return await studio.models.open(model)

    row, events = in_studio(first)
    of_model = [event for event in events if event.store == "models"]
    assert of_model[0].action == "added"
    assert of_model[-1].row == row
    assert row.name == "net"
    assert row.format == "onnx"
    assert row.summary["parameters"] > 270_000
    assert load(Path(row.graph_path)).main.nodes
    assert Path(row.layout_path).exists()
    model.unlink()

    async def again(studio):
        (kept,) = studio.models.rows
        return kept

    assert in_studio(again)[0] == row


def test_a_graph_of_another_version_is_read_again_by_itself(tmp_path):
    async def saved(studio):
        return await studio.models.open(SAMPLE)

    row, _ = in_studio(saved)
    graph = Path(row.graph_path)
    lines = graph.read_text().splitlines(keepends=True)
    older = lines[0].replace('"schema":2', '"schema":1')
    assert older != lines[0]
    graph.write_text("".join([older, *lines[1:]]))

    async def restarted(studio):
        before = studio.models.rows.get(row.sha256).graph_path
        await studio.models.renew()
        return before, studio.models.rows.get(row.sha256)

    (before, after), _ = in_studio(restarted)
    assert before is None
    assert len(load(Path(after.graph_path)).main.nodes) == row.summary["nodes"]


def test_the_sample_brings_its_pipeline_and_data():
    async def scenario(studio):
        row = await studio.models.open_sample()
        return row, await studio.models.open_sample()

    (first, second), events = in_studio(scenario)
    assert first == second
    assert first.name == "digits"
    assert (
        Path(first.pipeline_path).read_text() == Path(resource("sample", "digits.pipeline.yaml")).read_text()
    )
    assert Path(first.data_path).name == "digits_test.npz"
    assert Path(first.calibration_path).name == "digits_calibration.npz"
    jobs = {event.row.id for event in events if event.store == "jobs"}
    assert len(jobs) == 1, "what is known is not read again"


def test_names_tags_data_export_and_removal(tmp_path):
    async def scenario(studio):
        row = await studio.models.open_sample()
        row = await studio.models.rename(row.sha256, "mine")
        row = await studio.models.set_tags(row.sha256, ["a", "b", "a", ""])
        assert (row.name, row.tags) == ("mine", ("a", "b"))
        assert studio.models.find("mine") == row
        assert studio.models.find(row.sha256[:8]) == row
        assert studio.models.find("nothing") is None
        assert await studio.models.locate(row.sha256[:8]) == row
        out = await studio.models.export(row.sha256, tmp_path / "deep" / "copy.onnx")
        assert out.read_bytes() == SAMPLE.read_bytes()
        with pytest.raises(InputError):
            await studio.models.export(row.sha256, tmp_path / "deep" / "copy.onnx" / "below.onnx")
        kept = tmp_path / "documents"
        (kept / SAMPLE.name / "mine").mkdir(parents=True)
        with pytest.raises(InputError, match="not replaced"):
            await studio.models.export(row.sha256, kept)
        (kept / SAMPLE.name / "mine").rmdir()
        (kept / SAMPLE.name).rmdir()
        (kept / "letter.txt").write_text("dear all")
        inside = await studio.models.export(row.sha256, kept)
        assert inside == kept / SAMPLE.name
        assert (kept / "letter.txt").exists()
        with pytest.raises(ModelError):
            await studio.models.set_data(row.sha256, data=tmp_path / "absent")
        await studio.models.remove(row.sha256)
        assert len(studio.models.rows) == 0
        with pytest.raises(InputError):
            await studio.models.rename(row.sha256, "x")

    in_studio(scenario)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + bytes(100), None])
def test_what_is_no_model_is_refused_and_leaves_nothing(tmp_path, content):
    path = tmp_path / "odd.onnx"
    if content is None:
        path.write_bytes(SAMPLE.read_bytes()[: SAMPLE.stat().st_size * 6 // 10])
    else:
        path.write_bytes(content)

    async def scenario(studio):
        with pytest.raises(EdgeStudioError) as caught:
            await studio.models.open(path)
        assert caught.value.exit_code == 2
        assert caught.value.message
        assert "Traceback" not in caught.value.message
        assert len(studio.models.rows) == 0
        assert list(studio.models.library.entries()) == []

    in_studio(scenario)


def test_a_variant_stands_under_its_parent_with_both_sides():
    async def scenario(studio):
        source = await studio.models.open_sample()
        return source, await studio.optimizer.optimize(source.sha256, "int8-static")

    (source, variant), events = in_studio(scenario)
    assert variant.parent == source.sha256
    assert variant.recipe == "int8-static"
    assert variant.after["size_bytes"] < variant.before["size_bytes"]
    assert variant.after["accuracy"]["n"] == 450
    assert variant.after["latency_ms"]["n"] > 1
    assert [step["pass"] for step in variant.steps][-1] == "int8-static"
    assert variant.graph_path is not None
    assert variant.pipeline_path is not None
    states = [event.row.state for event in events if event.store == "jobs" and event.row.kind == "optimize"]
    assert states[0] == "queued"
    assert states[-1] == "done"
    assert states.count("done") == 1


def test_a_recipe_without_its_data_is_refused_before_anything_starts(tmp_path):
    async def scenario(studio):
        row = await studio.models.open(SAMPLE)
        count = len(studio.jobs.rows)
        with pytest.raises(InputError) as caught:
            await studio.optimizer.optimize(row.sha256, "int8-static")
        assert caught.value.code == "needs-data"
        with pytest.raises(InputError):
            await studio.optimizer.optimize(row.sha256, "no-such-recipe")
        with pytest.raises(InputError):
            await studio.optimizer.evaluate(row.sha256)
        assert len(studio.jobs.rows) == count

    in_studio(scenario)


def test_measuring_here():
    async def scenario(studio):
        row = await studio.models.open_sample()
        right = await studio.optimizer.evaluate(row.sha256)
        quick = await studio.optimizer.bench(row.sha256)
        return right, quick

    (right, quick), _ = in_studio(scenario)
    assert right["n"] == 450
    assert right["top1"] > 0.97
    assert quick["latency_ms"]["n"] > 1


def test_weights_beside_the_file_come_along(tmp_path):
    code = (
        "import sys, numpy, onnx\n"
        "from onnx import TensorProto, helper, numpy_helper\n"
        "weight = numpy_helper.from_array(numpy.ones((64, 64), numpy.float32), 'w')\n"
        "node = helper.make_node('MatMul', ['x', 'w'], ['y'])\n"
        "value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64])\n"
        "graph = helper.make_graph([node], 'g', [value('x')], [value('y')], [weight])\n"
        "model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)\n"
        "onnx.save(model, sys.argv[1], save_as_external_data=True, location='w.bin', size_threshold=0)\n"
    )
    source = tmp_path / "big.onnx"
    subprocess.run([sys.executable, "-c", code, str(source)], check=True)

    async def scenario(studio):
        row = await studio.models.open(source)
        weights = (tmp_path / "w.bin").read_bytes()
        assert (Path(row.path).parent / "w.bin").read_bytes() == weights
        out = await studio.models.export(row.sha256, tmp_path / "out" / "big.onnx")
        assert (out.parent / "w.bin").read_bytes() == weights
        (out.parent / "w.bin").write_bytes(b"of another model")
        with pytest.raises(InputError, match="not replaced"):
            await studio.models.export(row.sha256, out)
        assert (out.parent / "w.bin").read_bytes() == b"of another model"

    in_studio(scenario)


def test_a_model_that_was_changed_in_the_library_is_not_handed_out(tmp_path):
    async def scenario(studio):
        row = await studio.models.open_sample()
        Path(row.path).write_bytes(SAMPLE.read_bytes() + b"x")
        with pytest.raises(ModelError, match="changed in the library"):
            await studio.models.export(row.sha256, tmp_path / "out.onnx")
        assert not list(tmp_path.iterdir())

    in_studio(scenario)


@pytest.mark.skipif(sys.platform != "linux", reason="only there names of files are bytes of any kind")
def test_a_file_whose_name_is_no_utf_8_enters_the_library_and_stays(tmp_path):
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.onnx"))
    source.write_bytes(SAMPLE.read_bytes())

    async def scenario(studio):
        row = await studio.models.open(source)
        assert row.name == "caf?"
        (entry,) = studio.models.library.entries()
        assert entry.path.read_bytes() == SAMPLE.read_bytes()
        out = await studio.models.export(row.sha256, tmp_path)
        assert os.fsencode(out.name) == b"caf\xe9.onnx"

    in_studio(scenario)
