"""Good models pass the scan, hostile and damaged ones are refused with a reason, and nothing crashes it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgestudio.runtime.backend import open_session, random_feeds
from edgestudio.runtime.scan.findings import ScanLimits
from edgestudio.runtime.scan.scan import scan_model
from edgestudio.wire.errors import ModelError

Maker = Callable[[Path], Path]


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    initializers: list[onnx.TensorProto] | None = None,
    **extra: object,
) -> Path:
    """A model from one float vector `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers or [],
    )
    extra.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    model = helper.make_model(graph, ir_version=9, **extra)
    path.write_bytes(model.SerializeToString())
    return path


def ints(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


FILL = helper.make_node("ConstantOfShape", ["s"], ["y"])
RANGE = [ints("a", [0]), ints("b", [1 << 40]), ints("c", [1])]


def external(location: str, **entries: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def add() -> list[onnx.NodeProto]:
    return [helper.make_node("Add", ["x", "w"], ["y"])]


def refused(path: Path, code: str, limits: ScanLimits | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        scan_model(path, limits)
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value.message


def test_the_sample_passes_and_counts(sample: Path) -> None:
    report = scan_model(sample / "digits.onnx")
    assert report.format == "onnx"
    assert report.nodes == 29
    assert report.opsets == {"": 18}
    assert report.warnings == ()


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(32))
    path = save(tmp_path / "m.onnx", add(), [external("w.bin", offset="16", length="16")])
    assert scan_model(path).external_files == ("w.bin",)
    refused(path, "external-data", ScanLimits(external_files=frozenset({"other.bin"})))


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "/etc/passwd", "sub/w.bin", "..", "", "./../w.bin", "a\\b", "C:w.bin", "/proc/self/environ"],
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    refused(save(folder / "m.onnx", add(), [external(location)]), "external-data")


def test_external_data_through_links_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").symlink_to(secret)
    refused(save(folder / "m.onnx", add(), [external("w.bin")]), "external-data")
    (folder / "w.bin").unlink()
    os.mkfifo(folder / "w.bin")
    refused(folder / "m.onnx", "external-data")


@pytest.mark.parametrize(
    "entries", [{"offset": "8"}, {"offset": "-4"}, {"length": "4"}, {"length": "999"}, {"offset": "x"}]
)
def test_external_data_outside_the_file_is_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    refused(save(tmp_path / "m.onnx", add(), [external("w.bin", **entries)]), "external-data")


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    message = refused(save(tmp_path / "m.onnx", add(), [external("weights.bin")]), "external-data-missing")
    assert "weights.bin" in message


def test_external_data_hides_nowhere(tmp_path: Path) -> None:
    """Not in an attribute, not in a subgraph, not behind a location that is then said to be inline."""
    hidden = external("../w.bin")
    constant = helper.make_node("Constant", [], ["w"], value=hidden)
    refused(save(tmp_path / "a.onnx", [constant, *add()]), "external-data")
    body = helper.make_graph(
        [constant, helper.make_node("Identity", ["w"], ["b"])],
        "b",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [4])],
    )
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    refused(save(tmp_path / "b.onnx", [branch]), "external-data")
    hidden.data_location = TensorProto.DEFAULT
    refused(save(tmp_path / "c.onnx", add(), [hidden]), "external-data")


@pytest.mark.parametrize(
    ("name", "nodes", "tensors"),
    [
        ("fill", [helper.make_node("ConstantOfShape", ["s"], ["y"])], [ints("s", [1 << 34])]),
        ("overflow", [helper.make_node("ConstantOfShape", ["s"], ["y"])], [ints("s", [1 << 62, 1 << 62])]),
        ("tile", [helper.make_node("Tile", ["x", "s"], ["y"])], [ints("s", [1 << 30])]),
        ("expand", [helper.make_node("Expand", ["x", "s"], ["y"])], [ints("s", [1 << 40, 4])]),
        ("range", [helper.make_node("Range", ["a", "b", "c"], ["y"])], RANGE),
        ("random", [helper.make_node("RandomNormal", [], ["y"], shape=[1 << 20, 1 << 20])], []),
        ("pad", [helper.make_node("Pad", ["x", "s"], ["y"])], [ints("s", [0, 1 << 40])]),
        (
            "chain",
            [
                helper.make_node("Tile", ["x", "s"], ["a"]),
                helper.make_node("Relu", ["a"], ["b"]),
                helper.make_node("Reshape", ["b", "r"], ["c"]),
                helper.make_node("Tile", ["c", "s"], ["y"]),
            ],
            [ints("s", [1 << 15]), ints("r", [-1])],
        ),
        (
            "constant node",
            [
                helper.make_node("Constant", [], ["s"], value_ints=[1 << 40]),
                helper.make_node("ConstantOfShape", ["s"], ["y"]),
            ],
            [],
        ),
        *[(f"{op} of constants", [helper.make_node(op, ["a", "b"], ["s"]), FILL], [ints("a", a), ints("b", b)])
          for op, a, b in (
              ("Mul", [1 << 20], [1 << 20]), ("Add", [1 << 39] * 2, [1]), ("Pow", [10], [12]),
              ("Div", [1 << 50], [8]), ("Max", [1], [1 << 40]),
          )],
        ("reduced", [helper.make_node("ReduceProd", ["a"], ["s"]), FILL], [ints("a", [10] * 12)]),
        ("shift", [helper.make_node("BitShift", ["a", "b"], ["u"], direction="LEFT"),
                   helper.make_node("Cast", ["u"], ["s"], to=TensorProto.INT64), FILL],
         [helper.make_tensor(name, TensorProto.UINT64, [1], [value]) for name, value in (("a", 1), ("b", 40))]),
        ("made of made", [helper.make_node("ConstantOfShape", ["a"], ["s"], value=ints("v", [5000])), FILL],
         [ints("a", [4])]),
        ("whole reals", [helper.make_node("Cast", ["r"], ["s"], to=TensorProto.INT64), FILL],
         [helper.make_tensor("r", TensorProto.FLOAT, [1], [1e12])]),
        ("scales", [helper.make_node("Resize", ["x", "", "r"], ["y"], mode="nearest")],
         [numpy_helper.from_array(np.array([1e10], np.float32), "r")]),
        ("window", [helper.make_node("HannWindow", ["a"], ["y"])], [ints("a", [1 << 40])]),
        ("text", [helper.make_node("Expand", ["t", "a"], ["y"])],
         [helper.make_tensor("t", TensorProto.STRING, [1], [b"a" * 10_000]), ints("a", [1 << 20])]),
        ("growing text", [helper.make_node("StringConcat", [f"t{n}"] * 2, [f"t{n + 1}"]) for n in range(40)],
         [helper.make_tensor("t0", TensorProto.STRING, [1], [b"a"])]),
    ],
)  # fmt: skip
def test_memory_bombs_are_refused(
    tmp_path: Path, name: str, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]
) -> None:
    refused(save(tmp_path / f"{name}.onnx", nodes, tensors), "memory-bomb")


def test_sizes_that_are_computed_but_honest_pass(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["p"]),
        helper.make_node("Div", ["p", "zero"], ["q"]),  # known to nobody, and no crash of the scan
        helper.make_node("Sub", ["p", "p"], ["s"]),
        helper.make_node("Pow", ["a", "far"], ["w"]),
        FILL,
    ]
    tensors = [ints("a", [1 << 40]), ints("b", [1 << 40]), ints("zero", [0]), ints("far", [1 << 62])]
    assert scan_model(save(tmp_path / "fine.onnx", nodes, tensors)).nodes == 5


@pytest.mark.parametrize("written", ["1_6", "0x10", "\u0661\u0666", " 16", "+16", "9" * 30])
def test_a_number_that_runtimes_read_otherwise_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    refused(save(tmp_path / "m.onnx", add(), [external("w.bin", offset=written)]), "external-data")


def loop(
    trips: list[int] | None, condition: str, body_condition: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    body = helper.make_graph(
        [
            helper.make_node("Identity", [body_condition], ["go"]),
            helper.make_node("Add", ["v", "v"], ["out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [4]),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", TensorProto.FLOAT, [4]),
        ],
        [helper.make_tensor("true", TensorProto.BOOL, [], [True])],
    )
    node = helper.make_node("Loop", ["m" if trips else "", condition, "x"], ["y"], body=body)
    start = helper.make_tensor("start", TensorProto.BOOL, [], [True])
    return [node], [start, *([ints("m", trips)] if trips else [])]


@pytest.mark.parametrize(
    ("trips", "condition", "body_condition"),
    [
        ([1 << 62], "", "cond"),
        ([1 << 62], "start", "true"),
        (None, "", "cond"),
        (None, "start", "cond"),
        (None, "start", "true"),
    ],
)
def test_loops_without_end_are_refused(
    tmp_path: Path, trips: list[int] | None, condition: str, body_condition: str
) -> None:
    refused(save(tmp_path / "loop.onnx", *loop(trips, condition, body_condition)), "endless-loop")


def test_an_ordinary_loop_passes(tmp_path: Path) -> None:
    path = save(tmp_path / "loop.onnx", *loop([12], "start", "cond"))
    session = open_session(path)
    assert session.run({"x": np.ones(4, np.float32)})["y"][0] == 2**12


def test_deep_nesting_is_refused_without_recursion(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])],
        "g",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [4])],
    )
    data = body.SerializeToString()

    def field(number: int, payload: bytes) -> bytes:
        def varint(value: int) -> bytes:
            out = bytearray()
            while value > 0x7F:
                out.append(value & 0x7F | 0x80)
                value >>= 7
            return bytes([*out, value])

        return varint(number << 3 | 2) + varint(len(payload)) + payload

    for _ in range(3000):
        attribute = field(1, b"then_branch") + field(6, data)
        data = field(1, field(4, b"If") + field(1, b"c") + field(5, attribute))
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x09" + field(8, b"\x10\x11") + field(7, data))
    refused(path, "too-deep")


def test_functions_that_explode_or_recurse_are_refused(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]

    def function(name: str, callee: str) -> onnx.FunctionProto:
        calls = [
            helper.make_node(callee, ["a"], ["b"], domain="f"),
            helper.make_node(callee, ["b"], ["c"], domain="f"),
        ]
        return helper.make_function("f", name, ["a"], ["c"], calls, imports)

    leaf = helper.make_function(
        "f", "f0", ["a"], ["c"], [helper.make_node("Relu", ["a"], ["c"])], imports[:1]
    )
    chain = [leaf, *(function(f"f{level}", f"f{level - 1}") for level in range(1, 40))]
    start = [helper.make_node("f39", ["x"], ["y"], domain="f")]
    refused(save(tmp_path / "bomb.onnx", start, functions=chain, opset_imports=imports), "too-many-nodes")
    ring = [function("f39", "f1"), function("f1", "f39")]
    refused(save(tmp_path / "ring.onnx", start, functions=ring, opset_imports=imports), "endless-loop")
    fine = save(
        tmp_path / "fine.onnx",
        [helper.make_node("f1", ["x"], ["y"], domain="f")],
        functions=chain[:2],
        opset_imports=imports,
    )
    assert scan_model(fine).custom_operators == ()


def test_custom_operators_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [helper.make_node("Evil", ["x"], ["y"], domain="shop")])
    assert "shop.Evil" in refused(path, "custom-operators")
    assert scan_model(path, ScanLimits(allows_custom_operators=True)).custom_operators == ("shop.Evil",)


def test_limits_and_versions(tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    refused(
        save(tmp_path / "opset.onnx", [relu], opset_imports=[helper.make_opsetid("", 999)]), "future-version"
    )
    path = save(tmp_path / "many.onnx", [relu] * 11)
    refused(path, "too-many-nodes", ScanLimits(max_nodes=10))
    refused(path, "too-large", ScanLimits(max_file_bytes=20))
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"")
    refused(save(tmp_path / "huge.onnx", add(), [huge]), "too-large")
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], raw_data=b"123")
    refused(save(tmp_path / "short.onnx", add(), [short]), "damaged")
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-4])
    refused(save(tmp_path / "negative.onnx", add(), [negative]), "malformed")


def test_a_graph_written_twice_is_refused(sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.onnx"
    path.write_bytes((sample / "digits.onnx").read_bytes() * 2)
    refused(path, "malformed")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "lfs-pointer"),
        (b"<!DOCTYPE html><html>404</html>", "html-page"),
        (b"PK\x03\x04aaaa", "archive"),
        (b"\x80\x04\x95(\x00\x00\x00", "pickle"),
        (b"\x89HDF\r\n\x1a\n", "hdf5"),
        (b"hello world, this is no model", "unknown-format"),
        (bytes.fromhex("a4512d8f0aba92b2"), "unknown-format"),
    ],
)
def test_what_is_no_model_is_called_by_its_name(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content if code != "unknown-format" or content[:5] == b"hello" else b"\xff" * 8)
    refused(path, code)


def test_no_file_and_no_ordinary_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "no-file")
    with pytest.raises(ModelError):
        scan_model(tmp_path)
    with pytest.raises(ModelError):
        scan_model(Path("/dev/zero"))


@pytest.mark.models
def test_the_hostile_corpus_is_judged(collected: Path) -> None:
    verdicts = {
        "derived/onnx/external_data_path_traversal.onnx": "external-data",
        "derived/onnx/future_opset999_ir99.onnx": "future-version",
        "derived/onnx/html_404.onnx": "html-page",
        "derived/onnx/truncated_60pct_nmp.onnx": "damaged",
        "derived/onnx/zero_bytes.onnx": "empty-file",
        "derived/tflite/truncated_60pct_kws.tflite": "damaged",
        "derived/tflite/zero_bytes.tflite": "empty-file",
        "derived/torch/zip_pickle_touches_marker.pt": "archive",
        "derived/keras/lambda_touches_marker.h5": "hdf5",
        "derived/keras/lambda_touches_marker.keras": "archive",
        "onnx/bad_graph_with_no_import_domains.onnx": "malformed",
        "onnx/custom_op_node.onnx": "custom-operators",
        "onnx/empty.onnx": "empty-model",
        "onnx/ext_weights.onnx": "external-data-missing",
        "onnx/git_lfs_pointer_Yolo.onnx": "lfs-pointer",
        "onnx/superresolution_prepost_customops_op18.onnx": "custom-operators",
        "tflite/0_subgraphs.tflite": "empty-model",
        "tflite/no_subgraphs.tflite": "empty-model",
        "tflite/audio_preprocessor_int8_tflm_signal_ops.tflite": "custom-operators",
        "tflite/custom_sinh.tflite": "custom-operators",
        "tflite/invalid_model.tflite": "unknown-format",
        "tflite/test_model_broken.tflite": "unknown-format",
        "torch/pickle_eval_print.pt": "pickle",
        "torch/png_magic_only.pt": "unknown-format",
    }
    for name, code in verdicts.items():
        refused(collected / "bad" / name, code)


@pytest.mark.models
def test_good_models_are_never_refused(collected: Path) -> None:
    odd = [
        "loop",
        "unsorted",
        "onnxml",
        "inp_dim",
        "duplicate",
        "dynamic_shapes",
        "string_input",
        "two_sub",
        "conformer",
    ]
    good = [p for p in collected.rglob("*") if p.suffix in (".onnx", ".tflite") and "bad" not in p.parts]
    good = [p for p in good if "edgetpu" not in p.name]
    good += [p for p in (collected / "bad").rglob("*.*") if any(part in p.name for part in odd)]
    assert len(good) > 25
    for path in good:
        assert scan_model(path).size_bytes > 0, path


@pytest.mark.models
def test_a_wrong_suffix_is_only_remarked(collected: Path) -> None:
    path = collected / "bad/derived/onnx/tflite_renamed.onnx"
    assert "content is TFLite" in scan_model(path).warnings[0]
    session = open_session(path)
    session.run(random_feeds(session.inputs))


def mutated(data: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    changed = bytearray(data)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        at, length = rng.randrange(len(data)), rng.randrange(1, 64)
        del changed[at : at + length]
    elif kind == 2:
        at = rng.randrange(len(data))
        changed[at:at] = rng.randbytes(rng.randrange(1, 16))
    else:
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(data))] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def fuzzed(data: bytes, tmp_path: Path, rounds: int, seed: int) -> int:
    rng, accepted = random.Random(seed), 0
    path = tmp_path / "mutated.bin"
    for _ in range(rounds):
        path.write_bytes(mutated(data, rng))
        try:
            scan_model(path)
            accepted += 1
        except ModelError:
            continue
    return accepted


def test_thousands_of_damaged_onnx_files_end_in_a_verdict(tmp_path: Path) -> None:
    path = save(tmp_path / "seed.onnx", *loop([3], "start", "cond"))
    assert 0 < fuzzed(path.read_bytes(), tmp_path, 6000, seed=7) < 6000


@pytest.mark.models
def test_thousands_of_damaged_tflite_files_end_in_a_verdict(collected: Path, tmp_path: Path) -> None:
    data = (collected / "tflm_speech_hello/hello_world_int8.tflite").read_bytes()
    assert 0 < fuzzed(data, tmp_path, 5000, seed=8) < 5000
    data = (collected / "bad/tflite/dynamic_shapes.tflite").read_bytes()
    assert 0 < fuzzed(data, tmp_path, 1000, seed=9) < 1000


def test_openvino_files(tmp_path: Path) -> None:
    layers = '<layer id="0" name="x" type="Parameter"/><layer id="1" name="y" type="ReLU"/>'
    constant = '<layer id="2" name="c" type="Const"><data element_type="f32" shape="4" offset="0" size="16"/></layer>'
    path = tmp_path / "net.xml"

    def write(body: str, head: str = "") -> Path:
        path.write_text(
            f'<?xml version="1.0"?>{head}<net name="n" version="11"><layers>{body}</layers></net>'
        )
        return path

    assert scan_model(write(layers)).nodes == 1
    refused(write(layers + constant), "external-data-missing")
    (tmp_path / "net.bin").write_bytes(bytes(15))
    refused(path, "external-data")
    (tmp_path / "net.bin").write_bytes(bytes(16))
    assert scan_model(path).external_files == ("net.bin",)
    refused(write(layers, '<!DOCTYPE a SYSTEM "file:///etc/passwd">'), "malformed")
    refused(write(""), "empty-model")
