"""The verbs of the library, of edits, registries, projects, data and keys: real studio, stable keys, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.__main__ import main
from edgestudio.assets import resource

SAMPLE = str(resource("sample", "digits.onnx"))


def said(capsys, *arguments: str, status: int = 0) -> dict:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_the_library_is_described_and_searched(capsys, tmp_path):
    shown = said(capsys, "library", "tag", SAMPLE, "release", "cv")
    assert shown["tags"] == ["release", "cv"]
    assert said(capsys, "library", "tag", "digits", "^cv")["tags"] == ["release"]
    assert said(capsys, "library", "version", "digits", "v1.2.0")["version"] == "1.2.0"
    assert said(capsys, "library", "note", "digits", "the first")["note"] == "the first"
    arguments = (
        "--trained",
        "2026-01-05",
        "--dataset",
        "digits 1",
        "--metric",
        "top1=0.97",
        "--tool",
        "torch=2.9",
    )
    shown = said(capsys, "library", "facts", "digits", *arguments)
    assert shown["training_date"] == "2026-01-05"
    assert shown["metrics"] == {"top1": 0.97}
    found = said(capsys, "library", "search", "tag:release", "op:Conv", "accuracy>0.9")["models"]
    assert [model["name"] for model in found] == ["digits"]
    assert said(capsys, "library", "search", "tag:other")["models"] == []
    assert said(capsys, "library", "list", "--sort", "version")["models"] == found
    said(capsys, "library", "export", "digits", str(tmp_path / "copy.onnx"))
    assert (tmp_path / "copy.onnx").read_bytes() == resource("sample", "digits.onnx").read_bytes()
    assert said(capsys, "library", "remove", "digits")["removed"] is True
    assert said(capsys, "library", "list")["models"] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("library", "show", "nobody"), "missing-file"),
        (("library", "version", SAMPLE, "1.2"), "bad-version"),
        (("library", "facts", SAMPLE, "--metric", "top1"), "usage"),
        (("library", "facts", SAMPLE, "--metric", "top1=good"), "usage"),
        (("library", "facts", SAMPLE, "--trained", "soon"), "bad-facts"),
        (("library", "search", "colour:red"), "bad-query"),
        (("library",), "usage"),
        (("edit", SAMPLE), "usage"),
        (("edit", SAMPLE, "--drop", "nothing"), "unknown-name"),
        (("publish", SAMPLE, "--to", "ftp://host/x"), "usage"),
        (("publish", SAMPLE, "--to", "shelf", "--version", "one"), "bad-version"),
        (("project", "restore", "nowhere.json"), "missing-file"),
        (("keys", "export"), "usage"),
        (("examine", "data", SAMPLE), "needs-data"),
        (("check", SAMPLE, "--target", "toaster"), "usage"),
    ],
)
def test_what_cannot_be_is_refused(capsys, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    assert said(capsys, *arguments, status=2)["error"]["code"] == code


def test_registries(capsys, tmp_path):
    shelf = str(tmp_path / "shelf")
    assert said(capsys, "registry", "list", shelf, status=3)["error"]["code"] == "not-found"
    assert said(capsys, "publish", SAMPLE, "--to", shelf)["version"] == "1.0.0"
    assert said(capsys, "publish", "digits", "--to", shelf, "--version", "1.10.0")["reference"]
    assert said(capsys, "publish", "digits", "--to", shelf, status=3)["error"]["code"] == "version-exists"
    said(capsys, "publish", "digits", "--to", shelf, "--version", "1.9.0")
    listed = said(capsys, "registry", "list", shelf)["models"]
    assert listed == [{"name": "digits", "versions": ["1.0.0", "1.9.0", "1.10.0"]}]
    said(capsys, "library", "remove", "digits")
    assert said(capsys, "import", "digits", "--from", shelf)["version"] == "1.10.0"
    assert said(capsys, "import", "digits@1.0.0", "--from", shelf)["version"] == "1.10.0"
    assert said(capsys, "import", "digits@3.0.0", "--from", shelf, status=3)["error"]["code"]


def test_an_edit_and_a_project(capsys, tmp_path):
    out, project = tmp_path / "edited.onnx", tmp_path / "p.json"
    made = said(capsys, "edit", SAMPLE, "--rename", "image=picture", "--opset", "18", "--out", str(out))
    assert [step["pass"] for step in made["steps"]] == ["rename", "convert-opset"]
    summary = said(capsys, "inspect", str(out))
    assert summary["inputs"][0]["name"] == "picture"
    assert summary["opsets"]["ai.onnx"] == 18
    assert said(capsys, "project", "save", str(project))["models"] == 2
    said(capsys, "library", "rename", "digits", "other")
    restored = said(capsys, "project", "restore", str(project))
    assert made["sha256"] in restored["restored"]
    assert restored["missing"] == []
    assert {model["name"] for model in said(capsys, "library", "list")["models"]} >= {"digits"}


def test_data_and_keys(capsys, tmp_path, monkeypatch):
    data = str(resource("sample", "digits_calibration.npz"))
    pipeline = str(resource("sample", "digits.pipeline.yaml"))
    found = said(capsys, "examine", "data", SAMPLE, "--data", data, "--pipeline", pipeline)
    assert {finding["name"] for finding in found["findings"]} >= {"amount", "duplicates", "balance", "range"}
    monkeypatch.setenv("EDGESTUDIO_KIT_PASSPHRASE", "short")
    kit = tmp_path / "kit"
    assert said(capsys, "keys", "export", str(kit), status=2)["error"]["code"] == "short-passphrase"
    monkeypatch.setenv("EDGESTUDIO_KIT_PASSPHRASE", "correct horse battery")
    said(capsys, "keys", "export", str(kit))
    rotated = said(capsys, "keys", "rotate", "--role", "targets")
    assert rotated == {"roles": ["targets"], "root_version": 2}
    assert said(capsys, "keys", "import", str(kit), status=2)["error"]["code"] == "keys-exist"
    assert said(capsys, "keys", "import", str(kit), "--replace")["imported"] is True
    monkeypatch.setenv("EDGESTUDIO_KIT_PASSPHRASE", "wrong horse battery")
    assert (
        said(capsys, "keys", "import", str(kit), "--replace", status=2)["error"]["code"] == "wrong-passphrase"
    )


def test_what_does_not_run_is_written_as_a_small_model(capsys, tmp_path):
    shutil.copy(SAMPLE, tmp_path / "net.onnx")
    result = said(capsys, "check", str(tmp_path / "net.onnx"), "--target", "edge-tpu",
                  "--export-failing", str(tmp_path / "failing"))  # fmt: skip
    assert result["verdict"] == "does not run"
    assert all("reason" in finding for finding in result["findings"])


def test_the_operator_that_fails_is_a_model_of_its_own(capsys, tmp_path):
    value, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Unique", ["a"], ["u"]),
             helper.make_node("Relu", ["a"], ["y"])]  # fmt: skip
    graph = helper.make_graph(nodes, "odd", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "odd.onnx"))
    result = said(capsys, "check", str(tmp_path / "odd.onnx"), "--target", "tensorrt",
                  "--export-failing", str(tmp_path / "smallest.onnx"))  # fmt: skip
    assert result["verdict"] == "does not run"
    assert result["failing"] == [str(tmp_path / "smallest.onnx")]
    assert said(capsys, "inspect", str(tmp_path / "smallest.onnx"))["operators"] == {"Unique": 1}


def test_a_model_whose_description_is_damaged_is_named(capsys):
    shown = said(capsys, "library", "show", SAMPLE)
    (Path(shown["path"]).parents[1] / "entry.json").write_text("{")
    assert main(["library", "list"]) == 0
    assert "is damaged" in capsys.readouterr().err
