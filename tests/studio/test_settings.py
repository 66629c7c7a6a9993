"""Settings: only what differs is kept, old files are migrated with a copy, bad ones are named."""

from __future__ import annotations

import json

import pytest

from edgestudio.studio.recent import RecentFiles
from edgestudio.studio.settings import Settings, SettingsStore
from edgestudio.wire.errors import InputError


@pytest.fixture
def store(tmp_path):
    return SettingsStore(tmp_path / "settings.json")


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_only_what_differs_is_saved(store, tmp_path):
    heard = []
    store.load()
    store.on_change(heard.append)
    store.change(theme="dark", heavy_jobs=1)
    assert json.loads((tmp_path / "settings.json").read_text()) == {"schema_version": 1, "theme": "dark"}
    assert heard[-1].theme == "dark"
    assert SettingsStore(tmp_path / "settings.json").load().theme == "dark"


def test_a_value_that_cannot_be_used_changes_nothing(store, tmp_path):
    store.load()
    with pytest.raises(InputError, match="heavy_jobs"):
        store.change(heavy_jobs=0)
    assert store.current == Settings()
    assert not (tmp_path / "settings.json").exists()


def test_environment_wins_and_is_not_saved(store, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGESTUDIO_THEME", "light")
    monkeypatch.setenv("EDGESTUDIO_DISCOVERY_INTERFACES", "127.0.0.1,10.0.0.2")
    assert store.load().theme == "light"
    assert store.current.discovery_interfaces == ("127.0.0.1", "10.0.0.2")
    store.change(scale_percent=150)
    assert json.loads((tmp_path / "settings.json").read_text()) == {
        "schema_version": 1, "scale_percent": 150,
    }  # fmt: skip


@pytest.mark.parametrize("content", ["{", "[]", '{"unknown": 1}', '{"schema_version": 99}', '{"theme": 3}'])
def test_a_bad_file_is_named_and_kept(store, tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(InputError) as caught:
        store.load()
    assert "settings.json" in caught.value.message
    assert caught.value.hint
    assert (tmp_path / "settings.json").read_text() == content


def test_an_old_file_is_migrated_with_a_copy(tmp_path):
    def rename(document):
        return {"theme": document.pop("colours"), **document}

    old = '{"schema_version": 1, "colours": "dark"}'
    (tmp_path / "settings.json").write_text(old)
    store = SettingsStore(tmp_path / "settings.json", migrations=(rename,))
    assert store.load().theme == "dark"
    assert (tmp_path / "settings.v1.json").read_text() == old
    assert json.loads((tmp_path / "settings.json").read_text()) == {"schema_version": 2, "theme": "dark"}
    assert store.load().theme == "dark"


def test_recent_files_remember_newest_first_and_forget_what_is_gone(tmp_path):
    recent = RecentFiles(tmp_path / "state.json", limit=2)
    assert recent.paths() == []
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.touch()
        recent.add(file)
    assert recent.paths() == [files[2], files[1]]
    recent.add(files[1])
    files[2].unlink()
    assert recent.paths() == [files[1]]
    (tmp_path / "state.json").write_text("garbage")
    assert recent.paths() == []
