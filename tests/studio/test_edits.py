"""What is done in the library can be taken back and done again: words, removals, small edits of the graph."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgestudio.assets import resource
from edgestudio.model.graph import load as load_graph
from edgestudio.studio.library.edit_history import Change, EditHistory
from edgestudio.wire.errors import InputError, RecipeError
from tests.studio.test_models import in_studio


def test_words_and_a_removal_are_taken_back_in_order():
    async def scenario(studio):
        row = await studio.models.open_sample()
        edits = studio.edits
        await edits.rename(row.sha256, "net")
        await edits.set_tags(row.sha256, ["a", " b", "a", ""])
        await edits.set_version(row.sha256, "v1.2.0")
        await edits.set_note(row.sha256, "first try")
        await edits.set_facts(row.sha256, {"training_date": "2026-01-05"})
        now = studio.models.get(row.sha256)
        assert (now.name, now.tags, now.version, now.note) == ("net", ("a", "b"), "1.2.0", "first try")
        await edits.remove(row.sha256)
        assert studio.models.rows.get(row.sha256) is None
        assert edits.history.undo_title == "Remove net"
        assert await edits.history.undo() == "Remove net"
        assert studio.models.get(row.sha256) == now
        while edits.history.undo_title is not None:
            await edits.history.undo()
        assert studio.models.get(row.sha256) == row
        assert await edits.history.undo() is None
        while edits.history.redo_title is not None:
            await edits.history.redo()
        assert studio.models.rows.get(row.sha256) is None
        await edits.history.undo()
        return studio.models.library

    library, _ = in_studio(scenario)
    (entry,) = library.entries()
    assert (entry.name, entry.version, entry.facts) == ("net", "1.2.0", {"training_date": "2026-01-05"})


def test_what_was_removed_is_gone_when_the_studio_stops():
    async def scenario(studio):
        row = await studio.models.open_sample()
        await studio.edits.remove(row.sha256)
        assert list(studio.models.library._directory.glob(".aside-*"))
        return studio.models.library._directory

    folder, _ = in_studio(scenario)
    assert [path.name for path in folder.iterdir()] == [".in-use"]


def test_an_edit_makes_a_child_and_undo_takes_it_away():
    async def scenario(studio):
        source = await studio.models.open_sample()
        name = source.summary["inputs"][0]["name"]
        steps = [{"pass": "rename", "options": {"names": {name: "picture"}}}]
        child = await studio.edits.edit(source.sha256, steps)
        assert child.parent == source.sha256
        assert child.summary["inputs"][0]["name"] == "picture"
        assert child.recipe == "rename"
        assert child.after["accuracy"]["top1"] > 0.9  # the pipeline was renamed with it
        assert await studio.edits.history.undo() == "Rename"
        assert studio.models.rows.get(child.sha256) is None
        await studio.edits.history.redo()
        assert studio.models.get(child.sha256) == child
        with pytest.raises(RecipeError, match="is no edit"):
            await studio.edits.edit(source.sha256, [{"pass": "int8-dynamic"}])
        with pytest.raises(RecipeError, match="at least one step"):
            await studio.edits.edit(source.sha256, [])
        with pytest.raises(InputError, match="no tensor or node"):
            await studio.edits.edit(source.sha256, [{"pass": "rename", "options": {"names": {"x1": "y"}}}])
        # The same edit again finds the model that is there: nothing that undo could take away.
        title = studio.edits.history.undo_title
        await studio.edits.edit(source.sha256, steps)
        assert studio.edits.history.undo_title == title

    in_studio(scenario)


def test_a_new_change_forgets_what_was_taken_back():
    done = []

    def change(name: str) -> Change:
        async def undo() -> None:
            done.append(f"undo {name}")

        async def redo() -> None:
            done.append(f"redo {name}")

        return Change(name, undo, redo)

    async def scenario():
        history = EditHistory()
        history.record(change("a"))
        history.record(change("b"))
        await asyncio.gather(history.undo(), history.undo())
        assert history.redo_title == "a"
        history.record(change("c"))
        assert history.redo_title is None
        await history.undo()
        return history

    history = asyncio.run(scenario())
    assert done == ["undo b", "undo a", "undo c"]
    assert history.undo_title is None


def test_a_variant_is_compared_by_its_lineage():
    async def scenario(studio):
        source = await studio.models.open_sample()
        names = [node.name for node in load_graph(Path(source.graph_path)).main.nodes if node.op == "Relu"][
            :2
        ]
        steps = [
            {"pass": "rename", "options": {"names": {names[0]: "first"}}},
            {"pass": "rename", "options": {"names": {names[1]: names[0]}}},
        ]
        child = await studio.edits.edit(source.sha256, steps)
        result = await studio.models.diff(Path(source.path), Path(child.path))
        assert result["lineage"] == ["edited"]
        assert result["pairs"] == [[at, at] for at in range(source.summary["nodes"])]
        unrelated = await studio.models.diff(resource("sample", "digits.onnx"), Path(child.path))
        assert unrelated["lineage"] == ["edited"], "a file that the library knows by its content"

    in_studio(scenario)
