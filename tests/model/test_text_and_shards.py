"""TensorFlow's graphs in text form read as the binary ones do; safetensors in several files are one model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from edgestudio.model.formats import tensorflow_text
from edgestudio.model.inspection import inspect_file
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from tests.model import made

_GRAPH = """# exported
node { name: "x" op: "Placeholder" device: "/cpu:0"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: -1 } dim { size: 2 } } } } }
node { name: "w" op: "Const"
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 3 } } tensor_content:
    "\\000\\000\\200?\\000\\000\\000@\\000\\000@@\\000\\000\\200@\\000\\000\\240@\\000\\000\\300@" } } } }
node { name: "y" op: "MatMul" input: "x" input: "w" attr { key: "T" value { type: DT_FLOAT } }
  attr { key: "made_up" value { s: "kept" } } experimental_debug_info { original_node_names: "y" } }
versions { producer: 27 }
"""


@pytest.mark.parametrize("place", ["graph.pbtxt", "graph.pb", "saved/saved_model.pbtxt"])
def test_a_graph_in_text_form(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    text = _GRAPH
    if "saved" in place:
        info = '{ name: "%s:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } dim { size: %d } } }'
        text = (
            f"saved_model_schema_version: 1\nmeta_graphs {{ graph_def {{ {_GRAPH} }}\n"
            'meta_info_def { tags: "serve" tensorflow_version: "2.17.0" }\n'
            f'signature_def {{ key: "serving_default" value {{ inputs {{ key: "a" value {info % ("x", 2)} }}\n'
            f'outputs {{ key: "b" value {info % ("y", 3)} }} }} }} }}'
        )
    path.write_text(text)
    path = path.parent if "saved" in place else path
    found = inspect_file(path)
    assert found["format"] == ("savedmodel" if "saved" in place else "graphdef")
    assert (found["macs"], found["parameters"]) == (6, 6)
    assert found["outputs"][0]["shape"] == [None, 3]
    assert np.array_equal(weight_loaders(path)["w"](), np.arange(1, 7, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_GRAPH[:-30], "text form that is damaged"),
        ("node { attr { value { func {" + " attr { value { func {" * 2000, "text form that is damaged"),
        (_GRAPH + "#" * (8 << 20), "too long"),
    ],
)
def test_text_that_is_no_graph(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "graph.pbtxt"
    path.write_text(text)
    with pytest.raises(ModelError, match=said) as caught:
        inspect_file(path)
    assert caught.value.hint


def _sharded(folder: Path) -> Path:
    for at, name in enumerate(("a", "b")):
        made.safetensors(folder / f"part-{at}.safetensors", {name: np.full((2, 3 + at), at, np.float32)})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "part-0.safetensors", "b": "part-1.safetensors"}}))
    return index


def test_safetensors_in_several_files_are_one_model(tmp_path: Path) -> None:
    index = _sharded(tmp_path)
    for path in (index, tmp_path):
        found = inspect_file(path)
        assert (found["format"], found["parameters"], found["format_version"]) == (
            "safetensors",
            14,
            "2 files",
        )
        assert {name: load().shape for name, load in weight_loaders(path).items()} == {
            "a": (2, 3),
            "b": (2, 4),
        }  # type: ignore[union-attr]


def test_files_that_a_list_names_are_beside_it(tmp_path: Path) -> None:
    index = _sharded(tmp_path)
    (tmp_path / "part-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lists part-1\.safetensors, which is missing"):
        inspect_file(index)
    index.write_text(json.dumps({"weight_map": {"a": "../secret"}}))
    with pytest.raises(ModelError, match="outside of its folder"):
        inspect_file(index)
    index.write_text(json.dumps({"weight_map": {"a": "9" * 5000}}))
    with pytest.raises(ModelError, match="cannot be read"):
        inspect_file(index)
    index.write_text('{"weight_map": 3}')
    with pytest.raises(ModelError, match="no JSON"):
        inspect_file(index)


def test_the_graph_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.meta"
    path.write_bytes(_meta_graph())
    found = inspect_file(path)
    assert found["format"] == "metagraph"
    assert [(each["name"], each["shape"]) for each in found["inputs"]] == [("x", [None, 2])]
    assert [(each["name"], each["shape"]) for each in found["outputs"]] == [("y", [None, 3])]
    assert (found["macs"], found["parameters"], found["nodes"]) == (6, 6, 3)
    assert found["metadata"]["left out"].startswith("6 operations")
    assert any("model.index" in warning for warning in found["warnings"])
    for name in ("model.index", "model.data-00000-of-00001"):
        (tmp_path / name).write_bytes(bytes(8))
    assert not inspect_file(path)["warnings"]


def test_a_meta_graph_that_is_cut_short_or_empty(tmp_path: Path) -> None:
    path = tmp_path / "model.meta"
    for damaged in (_meta_graph()[:-5], b"\x0a\x00\x12\x00"):
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            inspect_file(path)


def _meta_graph() -> bytes:
    """x times a variable, with what initialises, trains, saves and restores that."""
    text = """
        node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
          attr { key: "shape" value { shape { dim { size: -1 } dim { size: 2 } } } } }
        node { name: "v" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } }
          attr { key: "shape" value { shape { dim { size: 2 } dim { size: 3 } } } } }
        node { name: "zeros" op: "Fill" }
        node { name: "v/Assign" op: "Assign" input: "v" input: "zeros" }
        node { name: "v/read" op: "Identity" input: "v" attr { key: "T" value { type: DT_FLOAT } } }
        node { name: "y" op: "MatMul" input: "x" input: "v/read" attr { key: "T" value { type: DT_FLOAT } } }
        node { name: "gradients/MatMul" op: "MatMul" input: "x" input: "y" }
        node { name: "train" op: "ApplyGradientDescent" input: "v" input: "gradients/MatMul" }
        node { name: "save/Const" op: "PlaceholderWithDefault" }
        node { name: "save/SaveV2" op: "SaveV2" input: "save/Const" input: "v" }
    """
    graph = text_format.Parse(text, tensorflow_text._classes()["GraphDef"]()).SerializePartialToString()
    return b"\x0a\x00\x12" + bytes([len(graph) & 127 | 128, len(graph) >> 7]) + graph
