"""What another process does to the library shows here, and writers at once lose nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgestudio.assets import resource
from edgestudio.model.library.folder_lock import FolderLock
from edgestudio.model.library.library import Library
from edgestudio.model.library.watch import LibraryWatch
from edgestudio.studio.app import Studio
from edgestudio.wire.errors import InputError
from tests.model.made import convolution

SAMPLE = Path(resource("sample", "digits.onnx"))


def two_studios(scenario):
    """Run an async function with two studios on one home, as two windows are."""

    async def run():
        one, two = Studio(), Studio()
        for studio in (one, two):
            await studio.start(discover=False)
        try:
            return await scenario(one, two)
        finally:
            await one.stop()
            await two.stop()

    return asyncio.run(run())


def test_two_windows_show_the_same_library(tmp_path):
    model = tmp_path / "net.onnx"
    shutil.copy(SAMPLE, model)

    async def scenario(one, two):
        events = []
        two.bus.subscribe(events.append)
        row = await one.models.open(model)
        await two.models.following.catch_up()
        (seen,) = two.models.rows
        assert (seen.sha256, seen.name, seen.is_from_elsewhere) == (row.sha256, "net", True)
        assert seen.graph_path == row.graph_path
        await one.models.following.catch_up()
        assert one.models.get(row.sha256).is_from_elsewhere is False
        await two.models.rename(row.sha256, "other")
        await one.models.set_tags(row.sha256, ["good"])
        for studio in (one, two):
            await studio.models.following.catch_up()
            kept = studio.models.get(row.sha256)
            assert (kept.name, kept.tags) == ("other", ("good",))
        await one.models.remove(row.sha256)
        await two.models.following.catch_up()
        assert not list(two.models.rows)
        assert next(event.action for event in events if event.store == "models") == "added"
        assert [event.action for event in events if event.store == "models"][-1] == "removed"

    two_studios(scenario)


def test_a_window_shows_what_a_verb_made_while_it_is_open(tmp_path):
    model = convolution(tmp_path / "net.onnx")

    async def scenario(one, two):
        await one.keep_worker_ready()  # as a window does
        await two.models.open(model)
        for _ in range(200):
            if list(one.models.rows):
                break
            await asyncio.sleep(0.05)
        assert [row.name for row in one.models.rows] == ["net"]

    two_studios(scenario)


def test_an_idle_library_is_asked_for_nothing_but_its_time(tmp_path, monkeypatch):
    library = Library(tmp_path / "library")
    library.add(SAMPLE, name="net", format="onnx")
    watch = LibraryWatch(library)
    monkeypatch.setattr("edgestudio.model.library.watch._SETTLED_NS", -1)
    assert len(watch.look().entries) == 1
    read = []
    monkeypatch.setattr(Library, "get", lambda self, key: read.append(key))
    monkeypatch.setattr("edgestudio.model.library.watch.stamp_of", lambda folder: read.append(folder))
    assert watch.look().entries == ()
    assert read == []


def test_a_change_within_the_clocks_grain_is_not_missed(tmp_path):
    """The first look comes so soon after a change that the folder's time may stay the same for another."""
    library = Library(tmp_path / "library")
    entry = library.add(SAMPLE, name="net", format="onnx")
    watch = LibraryWatch(library)
    watch.look()
    at = library.directory.stat()
    library.update(entry.sha256, note="said")
    os.utime(library.directory, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert [each.note for each, _ in watch.look().entries] == ["said"]


def test_writers_at_once_lose_nothing(tmp_path):
    library = Library(tmp_path / "library")
    entry = library.add(SAMPLE, name="net", format="onnx")
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgestudio.model.library.library import Library\n"
        "library, field = Library(Path(sys.argv[1])), sys.argv[3]\n"
        "for number in range(25):\n"
        "    library.update(sys.argv[2], **{field: f'{field} {number}'})\n"
    )
    command = [sys.executable, "-c", script, str(library.directory), entry.sha256]
    running = [subprocess.Popen([*command, field]) for field in ("name", "note", "version", "recipe")]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0, 0]
    kept = library.get(entry.sha256)
    assert kept is not None
    assert (kept.name, kept.note, kept.version, kept.recipe) == (
        "name 24",
        "note 24",
        "version 24",
        "recipe 24",
    )


def test_two_that_add_the_same_model_at_once_keep_one(tmp_path):
    folder = tmp_path / "library"
    script = (
        "import sys\nfrom pathlib import Path\nfrom edgestudio.model.library.library import Library\n"
        "for number in range(8):\n"
        "    Library(Path(sys.argv[1])).add(Path(sys.argv[2]), name='n', format='onnx', tags=(sys.argv[3],))\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(SAMPLE)]
    running = [subprocess.Popen([*command, tag]) for tag in ("a", "b", "c")]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    (kept,) = Library(folder).entries()
    assert kept.path.read_bytes() == SAMPLE.read_bytes()
    assert not [each.name for each in folder.iterdir() if each.name.startswith(".adding")]


def test_a_half_added_model_that_vanishes_under_the_sweep_is_no_error(tmp_path):
    """Another program moves its model to its place between the listing and the look at its age."""
    library = Library(tmp_path / "library")
    library.directory.mkdir()
    (library.directory / ".adding-gone").symlink_to("nowhere")
    assert library.add(SAMPLE, name="net", format="onnx").path.is_file()


def test_a_library_that_somebody_holds_says_so(tmp_path, monkeypatch):
    library = Library(tmp_path / "library")
    entry = library.add(SAMPLE, name="net", format="onnx")
    monkeypatch.setattr("edgestudio.model.library.folder_lock._LONGEST_WAIT_S", 0.05)
    other = FolderLock(library.directory)
    assert other.acquire()
    with pytest.raises(InputError, match="being changed by another program"):
        library.update(entry.sha256, name="x")
    other.release()
    assert library.update(entry.sha256, name="x").name == "x"
