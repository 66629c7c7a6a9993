"""TorchScript's shapes follow from the sizes of its inputs, through sizes that the code computes and tests."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from edgestudio.model.analysis import analyse
from edgestudio.model.dimensions import symbols
from edgestudio.model.formats.pickle_text import Made, Named
from edgestudio.model.formats.torch_code import CodeReader
from edgestudio.model.formats.torch_parts import Methods
from edgestudio.model.formats.torch_shapes import infer_shapes
from edgestudio.model.formats.torch_values import Placed
from edgestudio.model.graph import Model, Tensor
from edgestudio.model.sizes import names_in, size_of


def _model(body: str, weights: dict[str, tuple[int, ...]] | None = None) -> Model:
    """A module `Net` with this forward method and float32 weights."""
    module = Made(Named("__torch__.Net"), ())
    module.state, known = {}, {}
    for name, shape in (weights or {}).items():
        storage = Made(Named("torch._utils._rebuild_tensor_v2"), ("stored", 0, shape, (1,) * len(shape)))
        module.state[name] = storage
        known[Placed("", shape, "", 0, (1,) * len(shape))] = Tensor(name, "float32", shape, "constant", 0)
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    methods = Methods()
    methods.add("__torch__", ast.parse(f"class Net:\n  def forward(self, x):\n{lines}"))
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
    code = "y = x\nfor i in range(3):\n  y = torch.cat([y, x], 0)\nreturn y"
    assert _shapes(_model(code), 2, 2) == [None]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2*s0 + 1", 9), ("(s0 - 1)//2 + 1", 2), ("Max(1, s0)", 4), ("s0*s1", None), ("s0/3", None), ("s0", 4),
     ("__import__('os').getcwd()", None), ("9**9**9", None), ("unk__7:0", None), ("s0.real", None)],
)  # fmt: skip
def test_symbolic_sizes_are_worked_out(text: str, value: int | None) -> None:
    assert size_of(text, {"s0": 4}) == value
    assert names_in("Mod(batch, 2) + time") == ["batch", "time"]
