"""TorchScript's shapes follow from the sizes of its inputs, through sizes that the code computes and tests."""

from __future__ import annotations

import ast
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgestudio.model.dimensions import symbols
from edgestudio.model.formats.pickle_text import Made, Named
from edgestudio.model.formats.torch_code import CodeReader
from edgestudio.model.formats.torch_export import _expression
from edgestudio.model.formats.torch_parts import Methods
from edgestudio.model.formats.torch_shapes import infer_shapes
from edgestudio.model.formats.torch_values import Placed
from edgestudio.model.graph import Model, Tensor
from edgestudio.model.reading import read_model
from edgestudio.model.sizes import names_in, size_of
from edgestudio.model.totals.analysis import analyse
from tests.model.made import torch_pickle


def _model(body: str, weights: dict[str, tuple[int, ...]] | None = None, functions: str = "") -> Model:
    """A module `Net` with this forward method, float32 weights, and functions beside it."""
    module = Made(Named("__torch__.Net"), ())
    module.state, known = {}, {}
    for name, shape in (weights or {}).items():
        storage = Made(Named("torch._utils._rebuild_tensor_v2"), ("stored", 0, shape, (1,) * len(shape)))
        module.state[name] = storage
        known[Placed("", shape, "", 0, (1,) * len(shape))] = Tensor(name, "float32", shape, "constant", 0)
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    methods = Methods()
    methods.add("__torch__", ast.parse(f"class Net:\n  def forward(self, x):\n{lines}{functions}"))
    reader = CodeReader(methods, [], known)
    reader.read(module)
    return Model("torchscript", None, None, {}, tuple(reader.graphs), 0)


def _shapes(model: Model, *sizes: int) -> list[Any]:
    found = infer_shapes(model, {f"x:{axis}": size for axis, size in enumerate(sizes)})
    return [found.main.tensors[index].shape for index in found.main.outputs]


@pytest.mark.parametrize(
    ("code", "sizes", "expected"),
    [
        ("return torch.max_pool2d(x, [3], [2], [1], [1], True)", (1, 4, 6, 7), (1, 4, 4, 4)),
        ("return torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1, -1)", (2, 8, 5, 5), (2, 8)),
        (
            "b = ops.prim.NumToTensor(torch.size(x, 0))\nreturn torch.view(x, [int(b), -1])",
            (3, 4, 5),
            (3, 20),
        ),
        ("b, c, = torch.size(x)\nreturn torch.reshape(x, [b, 2, torch.floordiv(c, 2)])", (3, 8), (3, 2, 4)),
        ("a, b, = torch.chunk(x, 2, 1)\nreturn torch.cat([b, a, b], 1)", (1, 6), (1, 9)),
        ("return torch.permute(torch.unsqueeze(x, -1), [2, 0, 1])", (4, 5), (1, 4, 5)),
        ("return torch.mean(x, [2, 3], True)", (1, 3, 4, 4), (1, 3, 1, 1)),
        ("return torch.upsample_nearest2d(x, None, [2., 2.])", (1, 3, 4, 5), (1, 3, 8, 10)),
        ("return torch.slice(torch.select(x, 0, 0), 0, 1, 9223372036854775807, 2)", (2, 9), (4,)),
        ("return torch.add(x, torch.select(x, 1, 0), alpha=1)", (4, 4, 1), (4, 4, 1)),
    ],
)
def test_shapes_follow(code: str, sizes: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert _shapes(_model(code), *sizes) == [expected]


def test_a_convolution_says_what_it_reads_and_counts_once_the_sizes_are_set() -> None:
    code = "return torch.conv2d(x, self.w, None, [2, 2], [1, 1], [1, 1], 1)"
    model = infer_shapes(_model(code, {"w": (8, 3, 3, 3)}))
    assert model.main.tensors[model.main.inputs[0]].shape == (None, 3, None, None)
    assert symbols(model.main) == ["x:0", "x:2", "x:3"]
    assert analyse(model).macs is None
    bound = infer_shapes(model, {"x:2": 16, "x:3": 16})
    analysis = analyse(bound, bound)
    assert analysis.macs == 8 * 8 * 8 * 27
    assert analysis.peak_activation_bytes == 4 * (3 * 16 * 16 + 8 * 8 * 8)


def test_a_test_of_sizes_takes_one_side() -> None:
    code = (
        "if torch.eq(torch.dim(x), 3):\n  y = torch.squeeze(x, 0)\nelse:\n  y = torch.unsqueeze(x, 0)\n"
        "return torch.relu(y)"
    )
    assert _shapes(_model(code), 1, 4, 5) == [(4, 5)]
    assert _shapes(_model(code), 4, 5) == [(1, 4, 5)]


def test_a_test_of_what_is_written_leaves_no_branch() -> None:
    model = _model('if torch.eq("zeros", "zeros"):\n  y = torch.relu(x)\nelse:\n  y = torch.neg(x)\nreturn y')
    assert [node.op for node in model.main.nodes] == ["aten::relu"]


def test_a_size_that_changes_from_round_to_round_is_unknown() -> None:
    code = "y = x\nfor i in range({}):\n  y = torch.cat([y, x], 0)\nreturn y"
    assert _shapes(_model(code.format(30)), 2, 2) == [None]
    assert _shapes(_model(code.format(3)), 2, 2) == [(8, 2)], "a few rounds are written out"


@pytest.mark.parametrize(
    ("text", "value"),
    [("2*s0 + 1", 9), ("(s0 - 1)//2 + 1", 2), ("Max(1, s0)", 4), ("s0*s1", None), ("s0/3", None), ("s0", 4),
     ("__import__('os').getcwd()", None), ("9**9**9", None), ("unk__7:0", None), ("s0.real", None)],
)  # fmt: skip
def test_symbolic_sizes_are_worked_out(text: str, value: int | None) -> None:
    assert size_of(text, {"s0": 4}) == value
    assert names_in("Mod(batch, 2) + time") == ["batch", "time"]


def test_a_transposed_convolution_of_a_trace_counts_what_it_spreads() -> None:
    turned = "[2, 2], [0, 0], [1, 1], True, [0, 0], 1, False, False, True, True"
    code = f"return torch._convolution(x, self.w, None, {turned})"
    bound = infer_shapes(_model(code, {"w": (4, 3, 2, 2)}), {"x:0": 1, "x:2": 5, "x:3": 6})
    assert [bound.main.tensors[index].shape for index in bound.main.outputs] == [(1, 3, 10, 12)]
    assert analyse(bound, bound).macs == 4 * 5 * 6 * 3 * 4


def test_a_product_of_a_list_of_tensors_counts() -> None:
    code = 'return torch.einsum("bhtd,bhsd->bhts", [x, x])'
    model = _model(code)
    assert _shapes(model, 2, 3, 5, 4) == [(2, 3, 5, 5)]
    bound = infer_shapes(model, {f"x:{axis}": size for axis, size in enumerate((2, 3, 5, 4))})
    assert analyse(bound, bound).macs == 2 * 3 * 5 * 5 * 4


def test_a_constant_that_divides_a_size_is_read_from_the_archive(tmp_path: Path) -> None:
    text = (
        "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  def forward(self, x):\n"
        "    n = torch.floor_divide(ops.prim.NumToTensor(torch.size(x, 1)), CONSTANTS.c0)\n"
        "    return torch.reshape(x, [-1, int(n)])\n"
    )
    tensor = torch_pickle({"c": ("0", 0, (), ())}, 1).replace(b"FloatStorage", b"LongStorage")
    # The dict's one value in a tuple, as the archive keeps its constants.
    constants = b"\x80\x02(" + tensor[tensor.index(b"ctorch._utils") : -2] + b"t."
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02c__torch__\nNet\n)\x81}b.")
        archive.writestr("net/constants.pkl", constants)
        archive.writestr("net/constants/0", struct.pack("<q", 4))
        archive.writestr("net/code/__torch__.py", text)
        archive.writestr("net/version", "3")
    model = infer_shapes(read_model(path), {"x:0": 2, "x:1": 12})
    assert [model.main.tensors[index].shape for index in model.main.outputs] == [(8, 3)]


@pytest.mark.parametrize(
    ("text", "shown", "sizes", "expected"),
    [
        ("Symbol('s0', positive=True, integer=True)", "s0", {"s0": 7}, 7),
        ("Add(FloorDiv(Add(Symbol('s0', integer=True), Integer(-1)), Integer(2)), Integer(1))",
         "(s0 + -1) // 2 + 1", {"s0": 8}, 4),
        ("Mul(Integer(4), Pow(Symbol('s27', positive=True), Integer(2)))", "4 * s27 ** 2", {"s27": 3}, 36),
        ("Mul(Symbol('s0')", "Mul(Symbol('s0')", {"s0": 8}, None),
    ],
)  # fmt: skip
def test_sizes_as_newer_exports_write_them(
    text: str, shown: str, sizes: dict[str, int], expected: int | None
) -> None:
    assert _expression(text) == shown
    assert size_of(shown, sizes) == expected


INTERPOLATE = """
if torch.__contains__(["nearest", "area"], mode):
  if torch.__isnot__(align, None):
    ops.prim.RaiseException("align_corners")
    align1 = uninitialized(Optional[bool])
  else:
    align1 = align
  align0 = align1
else:
  align0 = align
dim = torch.sub(torch.dim(data), 2)
if torch.__isnot__(size, None):
  sizes = annotate(List[int], [])
  for i in range(dim):
    _0 = torch.append(sizes, unchecked_cast(int, size))
  output, factors = sizes, None
else:
  if torch.ne(torch.len(scale), dim):
    ops.prim.RaiseException(torch.format("{} and {}", torch.dim(data), scale))
  else:
    pass
  output, factors = None, scale
if torch.eq(torch.dim(data), 3):
  _1 = torch.upsample_nearest1d(data, output, factors)
  out = _1
else:
  if torch.eq(torch.dim(data), 4):
    out = torch.upsample_nearest2d(data, output, factors)
  else:
    ops.prim.RaiseException("dimensions")
    out = uninitialized(Tensor)
return out
"""


@pytest.mark.parametrize(
    ("call", "expected"), [("None, [2., 3.]", (1, 8, 12, 21)), ("9, None", (1, 8, 9, 9))]
)
def test_how_a_library_prepares_a_call_is_followed_not_drawn(call: str, expected: tuple[int, ...]) -> None:
    """The code that refuses wrong arguments, counts dimensions and fills lists leaves the operator alone."""
    lines = "".join(f"  {line}\n" for line in INTERPOLATE.strip().splitlines())
    function = f"def resize(data, size, scale, mode, align):\n{lines}"
    code = (
        "y = torch.conv2d(x, self.w, None, [1, 1], [1, 1])\n"
        f"return __torch__.resize(y, {call}, 'nearest', None)"
    )
    model = _model(code, {"w": (8, 3, 3, 3)}, function)
    assert [node.op for node in model.main.nodes] == ["aten::conv2d", "aten::upsample_nearest2d"]
    assert len(model.graphs) == 1
    assert _shapes(model, 1, 3, 6, 7) == [expected]


def test_a_list_that_data_fills_is_not_taken_for_empty_or_full() -> None:
    code = (
        "sizes = annotate(List[int], [])\nif torch.gt(torch.item(x), 0):\n  _0 = torch.append(sizes, 4)\n"
        "else:\n  pass\nreturn torch.zeros(sizes)"
    )
    assert [node.op for node in _model(code).main.nodes].count("prim::If") == 1


LAYER = """
if torch.eq(torch.dim(y), 2):
  z = torch.unsqueeze(y, 0)
else:
  z = y
if torch.ne(torch.dim(z), 3):
  ops.prim.RaiseException("dimensions")
else:
  pass
return torch.transpose(z, 0, 1)
"""


def test_a_layer_for_rows_and_batches_is_shown_for_batches_and_says_so() -> None:
    lines = "".join(f"  {line}\n" for line in LAYER.strip().splitlines())
    model = _model("return __torch__.layer(torch.relu(x))", None, f"def layer(y):\n{lines}")
    assert [node.op for node in model.main.nodes] == ["aten::relu", "aten::dim", "aten::transpose"]
    assert _shapes(model, 2, 5, 7) == [(5, 2, 7)]
    settled = _model(
        "y = torch.relu(x)\nif torch.eq(torch.dim(y), 3):\n  z = torch.squeeze(y, 0)\nelse:\n  z = y\nreturn z"
    )
    assert _shapes(settled, 1, 4, 5) == [(4, 5)]
    other = infer_shapes(settled, {"x:0": 4, "x:1": 5})
    assert [other.main.tensors[index].shape for index in other.main.outputs] == [None]
    assert other.warnings == ("the graph is shown for data of 3 dimensions, and not for these sizes",)


def test_pytorchs_own_encoder_layer_counts_its_matrices_and_its_attention() -> None:
    weights = {"a": (96, 32), "b": (32, 32), "c": (64, 32), "d": (32, 64)}
    call = "x, 32, 4, self.a, None, self.b, None, True, False, 1e-5, None, None, None, None, self.c, None, self.d"
    model = infer_shapes(
        _model(f"return torch._transformer_encoder_layer_fwd({call})", weights),
        {"x:0": 2, "x:1": 7, "x:2": 32},
    )
    assert model.main.tensors[model.main.outputs[0]].shape == (2, 7, 32)
    assert analyse(model, model).macs == 14 * (32 * 96 + 32 * 32 + 2 * 32 * 64) + 2 * 2 * 7 * 7 * 32
