"""A project brings back what was said, finds what was lost, and deletes nothing."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from edgestudio.assets import resource
from edgestudio.studio.project import SCHEMA_VERSION, read_project
from edgestudio.wire.errors import InputError
from tests.studio.test_models import in_studio


def test_a_state_is_put_back(tmp_path):
    file = tmp_path / "net.onnx"
    shutil.copy(resource("sample", "digits.onnx"), file)
    saved = tmp_path / "work.edgestudio.json"

    async def scenario(studio):
        row = await studio.models.open(file)
        await studio.edits.set_tags(row.sha256, ["good"])
        await studio.edits.set_note(row.sha256, "as of Monday")
        as_saved = studio.models.get(row.sha256)
        variant = await studio.optimizer.optimize(row.sha256, "fp16")
        await studio.project.save(saved, selected_model=variant.sha256, layout="wide")
        assert studio.project.current == saved

        await studio.models.rename(row.sha256, "something else")
        await studio.models.set_tags(row.sha256, [])
        later = await studio.optimizer.optimize(row.sha256, "int8-dynamic")
        await studio.edits.remove(variant.sha256)
        restored = await studio.project.open(saved)
        assert studio.models.get(row.sha256) == as_saved
        assert studio.models.get(variant.sha256) == variant
        assert studio.models.rows.get(later.sha256) is not None
        assert restored.missing == ()
        assert restored.project.selected_model == variant.sha256
        assert restored.project.layout == "wide"

        await studio.models.remove(row.sha256)  # for good: only its file is left
        await studio.models.remove(variant.sha256)
        restored = await studio.project.open(saved)
        assert studio.models.get(row.sha256).note == "as of Monday"
        assert [name for name, _ in restored.missing] == [variant.name]

    in_studio(scenario)
    document = json.loads(saved.read_text())
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["models"][1]["steps"][0]["pass"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"schema_version": 99}', '{"schema_version": 1, "colour": "red"}', '{"models": []}',
     '{"schema_version": 1, "models": [{"sha256": "../../etc", "name": "x"}]}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_project_is_refused(tmp_path, text):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_project(path)
    assert caught.value.code == "bad-project"


def test_a_missing_project_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        read_project(tmp_path / "p.json")
    assert caught.value.code == "missing-file"


def test_a_project_never_takes_the_place_of_what_is_no_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def scenario(studio):
        for place in (pipe, tmp_path):
            with pytest.raises(InputError) as caught:
                await studio.project.save(place)
            assert caught.value.code == "unwritable"

    in_studio(scenario)
    assert pipe.is_fifo()
