"""Models go to a registry with their facts and come back through the same door as any file."""

from __future__ import annotations

import json

import pytest

from edgestudio.studio.registry.artifact import RegistryError
from edgestudio.wire.errors import InputError
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
