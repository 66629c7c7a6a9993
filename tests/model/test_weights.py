"""The values of weights are read from every format that holds some, in the form that their operator sees."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgestudio.model.arrays import array_at, strided, unpacked
from edgestudio.model.reading import read_model
from edgestudio.model.statistics import statistics_job
from edgestudio.model.weights import weight_loaders
from edgestudio.wire.errors import ModelError
from edgestudio.wire.progress import Silent
from tests.model.made import LEGACY_MAGIC, onnx_model, torch_pickle

RNG = np.random.default_rng(7)


def _values(path: Path) -> dict[str, np.ndarray]:
    found = {name: load() for name, load in weight_loaders(path).items()}
    return {name: values for name, values in found.items() if values is not None}


def _named(path: Path) -> set[str]:
    """The names of the constants that the graph shows."""
    model = read_model(path)
    return {t.name for graph in model.graphs for t in graph.tensors if t.kind == "constant"} | {
        t.name for t in model.weights
    }


# --- bytes as arrays


@pytest.mark.parametrize(
    ("bits", "signed"), [(1, False), (2, True), (3, False), (4, True), (4, False), (6, False)]
)
def test_small_integers_come_out_of_shared_bytes(bits: int, signed: bool) -> None:
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    values = RNG.integers(low, high, 13)
    whole = 0
    for at, value in enumerate(values):
        whole |= (int(value) & ((1 << bits) - 1)) << (at * bits)
    packed = np.frombuffer(whole.to_bytes(-(-13 * bits // 8), "little"), np.uint8)
    assert unpacked(packed, bits, 13, is_signed=signed).tolist() == values.tolist()


def test_short_floats_become_single_precision() -> None:
    halves = np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16
    found = array_at(halves.astype("<u2").tobytes(), 0, 4, "bfloat16", (2,))
    assert found is not None
    assert found.tolist() == [1.5, -2.0]
    eighths = array_at(bytes((0x38, 0xB8)), 0, 2, "float8_e4m3fn", (2,))
    assert eighths is not None
    assert eighths.tolist() == [1.0, -1.0]


def test_a_view_that_reaches_past_its_storage_is_not_made() -> None:
    data = np.arange(6, dtype="<f4").tobytes()
    turned = strided(data, 0, "float32", (3, 2), (1, 3))
    assert turned is not None
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert strided(data, 0, "float32", (3, 2), (1, 4)) is None
    assert strided(data, 4, "float32", (3, 2), (1, 3)) is None
    assert strided(data, 0, "float32", (1 << 40, 1 << 40), (0, 0)) is None


# --- formats


def test_onnx_weights_of_every_form(tmp_path: Path) -> None:
    halves = np.array([0.5, -3.0], np.float16)
    nodes = [helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT)]
    path = onnx_model(tmp_path / "made.onnx", nodes, {}, {"y": [2]})
    model = onnx.load(path)
    bits = halves.view(np.uint16).tolist()
    model.graph.initializer.append(TensorProto(name="half", data_type=10, dims=[2], int32_data=bits))
    model.graph.initializer.append(
        TensorProto(name="nibbles", data_type=22, dims=[3], raw_data=bytes((0x7F, 0x08)))
    )
    sparse = model.graph.sparse_initializer.add(dims=[2, 3])
    sparse.values.CopyFrom(TensorProto(name="sparse", data_type=1, dims=[2], float_data=[4.0, 5.0]))
    sparse.indices.CopyFrom(TensorProto(data_type=7, dims=[2, 2], int64_data=[0, 1, 1, 2]))
    onnx.save(model, path)
    found = _values(path)
    assert found["half"].tolist() == [0.5, -3.0]
    assert found["nibbles"].tolist() == [-1, 7, -8]
    assert found["sparse"].tolist() == [[0, 4, 0], [0, 0, 5]]


@pytest.mark.parametrize("form", ["zip", "zip, compressed", "old"])
def test_state_dicts_are_read_through_strides(form: str, tmp_path: Path) -> None:
    storage = np.arange(12, dtype="<f4")
    pickled = torch_pickle({"whole": ("0", 0, (3, 4), (4, 1)), "part": ("0", 4, (2, 2), (1, 4))}, 12)
    path = tmp_path / "made.pth"
    if form == "old":
        parts = [pickle.dumps(item, 2) for item in (LEGACY_MAGIC, 1001, {"little_endian": True})]
        keys = pickle.dumps(["0"], 2)
        path.write_bytes(b"".join(parts) + pickled + keys + struct.pack("<q", 12) + storage.tobytes())
    else:
        kind = zipfile.ZIP_STORED if form == "zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("a/data.pkl", pickled)
            archive.writestr("a/data/0", storage.tobytes())
    found = _values(path)
    assert set(found) == _named(path) == {"whole", "part"}
    assert found["whole"].tolist() == storage.reshape(3, 4).tolist()
    assert found["part"].tolist() == [[4, 8], [5, 9]]


def test_torch_export_weights_come_from_their_table(tmp_path: Path) -> None:
    meta = {
        "dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 3}], "strides": [{"as_int": 1}, {"as_int": 2}],
        "storage_offset": {"as_int": 0},
    }  # fmt: skip
    table = {"config": {"fc.weight": {"path_name": "weight_0", "use_pickle": False, "tensor_meta": meta}}}
    path = tmp_path / "made.pt2"
    program = {"graph_module": {"graph": {"nodes": []}}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/models/model.json", json.dumps(program))
        archive.writestr("m/data/weights/weight_0", np.arange(6, dtype="<f4").tobytes())
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps(table))
    assert _values(path)["fc.weight"].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("form", ["plain", "compressed", "archive", "compressed archive"])
def test_keras_weights_wherever_hdf5_keeps_them(form: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    kernel = RNG.standard_normal((4, 2)).astype("<f4")
    dense = {"class_name": "Dense", "config": {"name": "fc", "units": 2, "batch_input_shape": [None, 4]}}
    config = {"class_name": "Sequential", "config": {"name": "made", "layers": [dense]}}
    stored = io.BytesIO()
    is_archive = form.endswith("archive")
    place = "layers/dense/vars/0" if is_archive else "model_weights/fc/fc/kernel:0"
    with h5py.File(stored, "w") as file:
        options: dict[str, Any] = {"compression": "gzip", "chunks": (2, 2)} if form == "compressed" else {}
        file.create_dataset(place, data=kernel, **options)
        if not is_archive:
            file.attrs["model_config"] = json.dumps(config)
    path = tmp_path / "made.keras"
    if is_archive:
        kind = zipfile.ZIP_STORED if form == "archive" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", "{}")
            archive.writestr("model.weights.h5", stored.getvalue())
    else:
        path.write_bytes(stored.getvalue())
    found = _values(path)
    assert set(found) == _named(path)
    assert len(found) == 1
    assert np.array_equal(next(iter(found.values())), kernel)


class _Program:
    """An ML program in the making: constants, and the operators that unpack them."""

    _CODES: ClassVar = {"float16": 10, "uint1": 37, "uint2": 36, "int4": 25, "int32": 23}

    def __init__(self) -> None:
        from coremltools.proto import Model_pb2

        self.spec = Model_pb2.Model(specificationVersion=9)
        function = self.spec.mlProgram.functions["main"]
        function.opset = "CoreML8"
        self.block = function.block_specializations["CoreML8"]

    def constant(self, name: str, dtype: str, shape: tuple[int, ...], data: bytes, offset: int = 0) -> str:
        """A constant in the program, or with an `offset` in the blob file."""
        value = self._output(self.block.operations.add(type="const"), name, dtype, shape).attributes["val"]
        self._type(value.type, dtype, shape)
        if offset:
            value.blobFileValue.fileName, value.blobFileValue.offset = (
                "@model_path/weights/weight.bin",
                offset,
            )
        else:
            value.immediateValue.tensor.bytes.values = data
        return name

    def unpack(self, op: str, name: str, shape: tuple[int, ...], **given: str) -> None:
        operation = self._output(self.block.operations.add(type=f"constexpr_{op}"), name, "float16", shape)
        for key, source in given.items():
            operation.inputs[key].arguments.add(name=source)

    def save(self, path: Path, blob: bytes) -> Path:
        (path / "Data" / "weights").mkdir(parents=True)
        (path / "Data" / "m.mlmodel").write_bytes(self.spec.SerializeToString())
        (path / "Data" / "weights" / "weight.bin").write_bytes(blob)
        manifest = {"rootModelIdentifier": "m", "itemInfoEntries": {"m": {"path": "m.mlmodel"}}}
        (path / "Manifest.json").write_text(json.dumps(manifest))
        return path

    def _output(self, operation: Any, name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        self._type(operation.outputs.add(name=name).type, dtype, shape)
        return operation

    def _type(self, kind: Any, dtype: str, shape: tuple[int, ...]) -> None:
        kind.tensorType.dataType = self._CODES[dtype]
        for size in shape:
            kind.tensorType.dimensions.add().constant.size = size


def _packed(values: np.ndarray, bits: int) -> bytes:
    flags = np.unpackbits(values.astype(np.uint8).reshape(-1, 1), axis=1, bitorder="little")[:, :bits]
    return np.packbits(flags.reshape(-1), bitorder="little").tobytes()


def test_a_program_of_core_ml_is_unpacked(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    indices = RNG.integers(0, 4, (8, 16))
    lut = RNG.standard_normal((2, 1, 4, 1)).astype("<f2")
    codes, offset = RNG.integers(-8, 8, (8, 8)), RNG.integers(-8, 8, (8, 2))
    scale = RNG.uniform(0.1, 1, (8, 2)).astype("<f2")
    mask = RNG.integers(0, 2, (8, 8))
    values = RNG.standard_normal(int(mask.sum())).astype("<f2")
    program = _Program()
    add = program.constant
    header = struct.pack("<IIQQ", 0xDEADBEEF, 1, scale.nbytes, 128)
    program.unpack(
        "lut_to_dense", "table", (8, 16),
        indices=add("indices", "uint2", (8, 16), _packed(indices, 2)),
        lut=add("lut", "float16", lut.shape, lut.tobytes()),
    )  # fmt: skip
    program.unpack(
        "blockwise_shift_scale", "blocks", (8, 8), scale=add("scale", "float16", (8, 2), b"", offset=64),
        data=add("codes", "int4", (8, 8), _packed(codes & 15, 4)),
        offset=add("offset", "int4", (8, 2), _packed(offset & 15, 4)),
    )  # fmt: skip
    program.unpack(
        "sparse_to_dense", "spread", (8, 8), mask=add("mask", "uint1", (8, 8), _packed(mask, 1)),
        nonzero_data=add("some", "float16", values.shape, values.tobytes()),
    )  # fmt: skip
    blob = bytes(64) + header.ljust(64, b"\0") + scale.tobytes()
    found = _values(program.save(tmp_path / "made.mlpackage", blob))
    half = np.repeat(np.arange(2), 4)
    dense = np.zeros((8, 8), np.float16)
    dense[mask != 0] = values
    real = (codes - np.repeat(offset, 4, 1)).astype(np.float32) * np.repeat(scale, 4, 1)
    assert np.array_equal(found["table"], lut[half[:, None], 0, indices, 0])
    assert np.allclose(found["blocks"], real, rtol=1e-3)
    assert np.array_equal(found["spread"], dense)
    assert np.array_equal(found["codes"], codes)


def test_a_network_of_core_ml_is_unfolded(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model(specificationVersion=4)
    codes, table = RNG.integers(0, 8, 10), RNG.standard_normal(8)
    layer = spec.neuralNetwork.layers.add(name="fc", input=["x"], output=["y"])
    layer.innerProduct.inputChannels, layer.innerProduct.outputChannels = 5, 2
    bits = np.unpackbits(codes.astype(np.uint8)[:, None], axis=1)[:, 5:].reshape(-1)
    layer.innerProduct.weights.rawValue = np.packbits(bits).tobytes()
    layer.innerProduct.weights.quantization.numberOfBits = 3
    layer.innerProduct.weights.quantization.lookupTableQuantization.floatValue.extend(table)
    layer.innerProduct.hasBias = True
    layer.innerProduct.bias.float16Value = np.array([1.0, 2.0], "<f2").tobytes()
    path = tmp_path / "made.mlmodel"
    path.write_bytes(spec.SerializeToString())
    found = _values(path)
    assert set(found) == _named(path)
    assert np.allclose(found["fc.weights"], table[codes].reshape(2, 5), atol=1e-6)
    assert found["fc.bias"].tolist() == [1.0, 2.0]


def test_tensorflow_constants_stand_for_what_follows_them(tmp_path: Path) -> None:
    path = tmp_path / "made.pb"
    path.write_bytes(
        _const("filled", 1, (2, 2), b"\x2a\x04" + struct.pack("<f", 3.5))
        + _const("plain", 3, (3,), b"\x22\x0c" + struct.pack("<3i", 1, 2, 3))
        + _field(1, _field(1, b"y") + _field(2, b"Add") + _field(3, b"filled") + _field(3, b"plain"))
    )
    found = _values(path)
    assert found["filled"].tolist() == [[3.5, 3.5], [3.5, 3.5]]
    assert found["plain"].tolist() == [1, 2, 3]


def _field(number: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((number << 3 | 2, len(body))) + body


def _const(name: str, dtype: int, shape: tuple[int, ...], data: bytes) -> bytes:
    dims = b"".join(_field(2, bytes((8, size))) for size in shape)
    tensor = bytes((8, dtype)) + _field(2, dims) + data
    value = _field(5, _field(1, b"value") + _field(2, _field(8, tensor)))
    return _field(1, _field(1, name.encode()) + _field(2, b"Const") + value)


# --- what is wrong


def test_an_engine_says_that_its_weights_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "made.engine"
    path.write_bytes(b"ftrt" + bytes(60))
    with pytest.raises(ModelError, match="cannot be read"):
        weight_loaders(path)


def test_a_storage_that_is_cut_short_has_no_values(tmp_path: Path) -> None:
    path = tmp_path / "made.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", torch_pickle({"w": ("0", 0, (3, 4), (4, 1))}, 12))
        archive.writestr("a/data/0", bytes(40))
    assert weight_loaders(path)["w"]() is None
    assert statistics_job({"path": str(path)}, tmp_path, Silent())["tensors"] == []


def test_damaged_core_ml_values_that_do_not_fill_their_shape_are_unknown() -> None:
    from edgestudio.model.message import Message
    from edgestudio.model.weight_values.coreml_program import _immediate

    two_integers = bytes([0x12, 0x04, 0x0A, 0x02, 0x01, 0x02])  # field 2: a list of the integers 1 and 2
    assert _immediate(Message(memoryview(two_integers)), "int32", (58,)) is None
    values = _immediate(Message(memoryview(two_integers)), "int32", (2,))
    assert values is not None
    assert values.tolist() == [1, 2]
