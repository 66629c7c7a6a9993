"""Models go to a registry with their facts and come back through the same door as any file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import helper

from edgestudio.studio.registry.artifact import RegistryError
from edgestudio.studio.registry.lineage_file import read_lineage
from edgestudio.wire.errors import InputError
from tests.model.made import onnx_model
from tests.studio.test_models import in_studio


def test_a_model_goes_and_comes_back_with_its_facts(tmp_path):
    address = str(tmp_path / "shelf")

    async def there_and_back(studio):
        row = await studio.models.open_sample()
        await studio.models.set_tags(row.sha256, ["cv"])
        await studio.models.set_note(row.sha256, "good one")
        await studio.models.set_facts(row.sha256, {"dataset_version": "digits 1", "metrics": {"top1": 0.97}})
        said = await studio.registries.publish(row.sha256, address)
        assert (said["name"], said["version"]) == ("digits", "1.0.0")
        assert studio.models.get(row.sha256).version == "1.0.0"
        with pytest.raises(RegistryError, match="already") as caught:
            await studio.registries.publish(row.sha256, address)
        assert caught.value.code == "version-exists"
        with pytest.raises(InputError, match="no semantic version"):
            await studio.registries.publish(row.sha256, address, version="newest")
        for version in ("1.10.0", "1.9.0", "2.0.0-rc.1"):
            await studio.registries.publish(row.sha256, address, version=version)
        (listed,) = await studio.registries.models(address)
        assert listed.versions == ("1.0.0", "1.9.0", "1.10.0", "2.0.0-rc.1")
        await studio.models.remove(row.sha256)
        back = await studio.registries.fetch(address, "digits")
        assert back.sha256 == row.sha256
        assert (back.name, back.version, back.tags, back.note) == ("digits", "1.10.0", ("cv",), "good one")
        assert back.facts["metrics"]["top1"] == 0.97
        assert back.facts["tools"]
        assert back.opened_from is None
        assert back.summary["operators"] == row.summary["operators"]

    in_studio(there_and_back)


def test_a_variant_keeps_its_origin(tmp_path):
    address = str(tmp_path / "shelf")

    async def scenario(studio):
        source = await studio.models.open_sample()
        variant = await studio.optimizer.optimize(source.sha256, "fp16")
        await studio.registries.publish(variant.sha256, address, name="digits", version="1.1.0")
        await studio.models.remove(variant.sha256)
        back = await studio.registries.fetch(address, "digits", "1.1.0")
        assert back.parent == source.sha256
        assert back.recipe == "fp16"
        assert back.facts["metrics"]["top1"] == pytest.approx(variant.after["accuracy"]["top1"])

    in_studio(scenario)


def test_renamed_operators_are_known_after_the_way_through_a_registry(tmp_path, monkeypatch):
    """A desk that has the parent compares what it fetched with it operator by operator."""
    address = str(tmp_path / "shelf")
    graph = onnx_model(
        tmp_path / "net.onnx",
        [helper.make_node("Relu", ["x"], ["a"], "first"), helper.make_node("Relu", ["a"], ["y"], "second")],
        {"x": [1, 4]}, {"y": [1, 4]},
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9,
    )  # fmt: skip

    async def publish(studio):
        source = await studio.models.open(graph)
        made = await studio.edits.edit(
            source.sha256, [{"pass": "rename", "options": {"names": {"first": "begin"}}}]
        )
        await studio.registries.publish(made.sha256, address, name="net", version="1.1.0")
        return made.sha256

    made, _ = in_studio(publish)
    monkeypatch.setenv("EDGESTUDIO_HOME", str(tmp_path / "other desk"))

    async def fetch(studio):
        source = await studio.models.open(graph)
        back = await studio.registries.fetch(address, "net", "1.1.0")
        assert (back.sha256, back.parent) == (made, source.sha256)
        result = await studio.models.diff(Path(source.path), Path(back.path))
        assert (result["added"], result["removed"]) == ([], [])
        return back.steps

    steps, _ = in_studio(fetch)
    assert [step["names"] for step in steps] == [{"first": "begin"}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "{}",
        '{"parent": "q", "steps": []}',
        '{"parent": "p", "steps": 3}',
        '{"parent": "p", "steps": [3]}',
        "[" * 100_000,
    ],
)
def test_a_lineage_that_does_not_hold_together_counts_as_none(tmp_path, text):
    path = tmp_path / "lineage.json"
    path.write_text(text)
    assert read_lineage(path, "p") == ()


def test_of_a_lineage_only_names_are_believed(tmp_path):
    path = tmp_path / "lineage.json"
    step = {"pass": 5, "options": 3, "names": {"a": "b", "c": 7, "d": "e" * 5000}, "command": "rm"}
    path.write_text(json.dumps({"parent": "p", "steps": [step]}))
    assert read_lineage(path, "p") == ({"pass": "5", "names": {"a": "b"}},)
    assert read_lineage(path, "q") == ()


def test_what_is_not_what_was_published_is_refused(tmp_path):
    address = str(tmp_path / "shelf")

    async def scenario(studio):
        row = await studio.models.open_sample()
        await studio.registries.publish(row.sha256, address)
        with pytest.raises(RegistryError, match="is not in"):
            await studio.registries.fetch(address, "digit")
        facts = tmp_path / "shelf" / "digits" / "1.0.0" / "edgestudio.json"
        document = json.loads(facts.read_text())
        document["facts"]["sha256"] = "0" * 64
        facts.write_text(json.dumps(document))
        with pytest.raises(RegistryError, match="not the model that it is described as"):
            await studio.registries.fetch(address, "digits")
        assert not list(studio.paths.jobs.glob("fetched-*"))

    in_studio(scenario)
