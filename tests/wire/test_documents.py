"""What travels: fields from strangers, manifests, records, arrays."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgestudio.wire import api, tensors
from edgestudio.wire.errors import EdgeStudioError, InputError, InstallError
from edgestudio.wire.fields import Fields, canonical_json, clean_text, parse_json
from edgestudio.wire.records import Event, SensorReading, Window, kind_of
from edgestudio.wire.release import (
    HealthLimits,
    ReleaseFile,
    ReleaseManifest,
    Requirements,
    split_target,
    target_name,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"nul", b"NaN", b"[Infinity]", b'{"a":1,"a":2}', b"\xff\xfe", b"[" * 200_000,
        b"9" * 900_000, b"[" * 40 + b"]" * 40, b'"\\ud800',
    ],
)  # fmt: skip
def test_hostile_json_is_a_clear_refusal(data: bytes) -> None:
    with pytest.raises(InputError) as e:
        parse_json(data)
    assert e.value.code == "bad-json"


@given(JSON)
def test_canonical_json_is_one_form_and_reads_back(value: Any) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


def test_text_from_strangers_is_fit_to_show() -> None:
    assert clean_text("a\x1b[31m\u202eb\n\u200bc" + "x" * 99, 8) == "a[31mbcx"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "A",
        "con",
        "nul.txt",
        "com1",
        "a..b",
        "-a",
        "a.",
        "é",
        "a b",
        "a\n",
        "x" * 101,
    ],
)
def test_unsafe_names_are_refused(name: str) -> None:
    assert not api.is_safe_name(name)
    with pytest.raises(InputError):
        Fields({"n": name}, "it").name("n")


@given(st.text(max_size=30))
def test_a_safe_name_is_one_path_part_everywhere(name: str) -> None:
    if api.is_safe_name(name):
        assert Path(name).name == name
        assert name == name.lower()
        assert name.isascii()


def manifest(tmp_path: Path, size: int = 2 * api.CHUNK_BYTES + 5) -> ReleaseManifest:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(size))
    return ReleaseManifest("digits", "1.0", 3, {"model": ReleaseFile.of(path)}, 1.8e9)


def test_a_manifest_reads_back_and_its_bytes_do_not_change(tmp_path: Path) -> None:
    made = manifest(tmp_path)
    again = ReleaseManifest.from_dict(parse_json(made.to_bytes()))
    assert again == made
    assert again.to_bytes() == made.to_bytes()
    assert [made.files["model"].chunk_bytes(i) for i in range(3)] == [api.CHUNK_BYTES, api.CHUNK_BYTES, 5]
    assert split_target(made.target) == ("digits", 3)


def test_an_empty_file_has_no_chunks(tmp_path: Path) -> None:
    made = manifest(tmp_path, 0)
    assert made.files["model"].chunks == ()
    assert ReleaseManifest.from_dict(made.to_dict()) == made


def _changed(value: dict[str, Any], path: str, new: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    inner = value
    for key in parents:
        inner = inner[key]
    inner[last] = new
    return value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", 2), ("model", "../x"), ("model", ""), ("counter", 0), ("counter", -1), ("counter", True),
        ("counter", 2**60), ("counter", 1.5), ("files", {}), ("files", []), ("files", {"labels": {}}),
        ("files.model.name", "/etc/passwd"), ("files.model.name", "a" * 200), ("files.model.size_bytes", 2**23),
        ("files.model.size_bytes", -1), ("files.model.size_bytes", 2**70), ("files.model.chunks", ["x"] * 3),
        ("files.model.chunks", []), ("files.model.sha256", "A" * 64), ("requires.min_memory_bytes", -5),
        ("requires.runtimes", "onnx"), ("limits.trial_s", -1), ("limits.error_rate", 2), ("limits.latency_p95_ms", "x"),
        ("created", "now"), ("parent", "x"), ("version", 3), ("note", "x" * 3000),
    ],
)  # fmt: skip
def test_a_manifest_that_lies_is_refused(tmp_path: Path, path: str, value: Any) -> None:
    with pytest.raises(InputError):
        ReleaseManifest.from_dict(_changed(manifest(tmp_path, 10).to_dict(), path, value))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    value = manifest(tmp_path, 10).to_dict()
    value["files"]["labels"] = value["files"]["model"]
    with pytest.raises(InputError, match="two files"):
        ReleaseManifest.from_dict(value)


@given(JSON)
def test_nothing_that_is_no_manifest_record_or_array_gets_through_with_another_error(value: Any) -> None:
    readers = (
        ReleaseManifest.from_dict, Window.from_dict, Event.from_dict, kind_of, SensorReading.from_wire,
        lambda v: tensors.decode(v, max_bytes=1000), HealthLimits.from_dict, Requirements.from_dict,
    )  # fmt: skip
    for read in readers:
        try:
            read(value)
        except EdgeStudioError:
            continue


@pytest.mark.parametrize(
    "target", ["", "x", "x/1", "../1.json", "x/1.json/2", "x/-1.json", "x/" + "9" * 20 + ".json"]
)
def test_what_names_no_release_is_refused(target: str) -> None:
    with pytest.raises(InputError):
        split_target(target)
    assert split_target(target_name("a.b-c", 12)) == ("a.b-c", 12)


@pytest.mark.parametrize(
    ("requires", "word"),
    [
        (Requirements(hardware=("orin-nano",)), "orin-nano"),
        (Requirements(arch=("x86_64",)), "x86_64"),
        (Requirements(runtimes=("tensorrt",)), "tensorrt"),
        (Requirements(min_memory_bytes=2**40), "memory"),
    ],
)
def test_a_board_that_lacks_something_is_told_what(requires: Requirements, word: str) -> None:
    board: dict[str, Any] = {
        "hardware": "pi5", "arch": "aarch64", "runtimes": {"onnxruntime": 1}, "memory_bytes": 2**32
    }  # fmt: skip
    with pytest.raises(InstallError, match=word) as e:
        requires.check(**board)
    assert e.value.code == "wrong-device"
    Requirements(("pi5",), ("aarch64",), ("tensorrt", "onnxruntime"), 2**30).check(**board)


def test_limits_tell_absent_from_off() -> None:
    assert HealthLimits.from_dict({}).error_rate == HealthLimits().error_rate
    assert HealthLimits.from_dict({"error_rate": None}).error_rate is None
    assert HealthLimits.from_dict(HealthLimits(memory_bytes=5).to_dict()).memory_bytes == 5


def test_records_read_back_and_unknown_fields_are_ignored() -> None:
    sensors = {
        "cpu_temperature": SensorReading(61.2, "°C"),
        "power": SensorReading(None, "W", "not_available", "no INA3221"),
    }
    window = Window(
        "dev", "boot", 7, 1.8e9, 12.5, 10.0, "digits", 3, classes={"7": 4}, sensors=sensors, simulated=True
    )
    assert Window.from_dict({**window.to_dict(), "new": [1]}) == window
    event = Event("dev", "boot", 8, 1.8e9, 13.0, "install.committed", "done", data={"x": 1})
    assert Event.from_dict(event.to_dict()) == event
    with pytest.raises(InputError):
        kind_of({"v": 9, "k": "win"})


@pytest.mark.parametrize("dtype", sorted(tensors.DTYPES))
def test_arrays_arrive_as_they_left(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    back = tensors.decode(json.loads(json.dumps(tensors.encode({"x": array}))), max_bytes=1000)["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "object"},
        {"shape": [2**31, 2**31]},
        {"shape": [-1]},
        {"shape": [3]},
        {"data": "!"},
        {"shape": [1] * 40},
    ],
)
def test_arrays_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    item = {**tensors.encode({"x": np.zeros(2, np.float32)})["x"], **change}
    with pytest.raises(InputError):
        tensors.decode({"x": item}, max_bytes=10**6)
