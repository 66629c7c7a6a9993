"""Code in a TorchScript archive that is small and unfolds without end stops in a sentence; long code is followed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgestudio.model.inspection import inspect_file
from edgestudio.wire.errors import ModelError

_MODULE = b"\x80\x02c__torch__\nN\n)\x81%sb."


def _archive(path: Path, forward: str, state: bytes = b"}", *, before: str = "") -> Path:
    """A TorchScript archive of one class with this body of `forward`."""
    lines = "".join(f"    {line}\n" for line in forward.splitlines())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("n/data.pkl", _MODULE % state)
        archive.writestr("n/code/__torch__.py", f"class N:\n{before}  def forward(self, x):\n{lines}")
        archive.writestr("n/constants.pkl", b"\x80\x02).")
        archive.writestr("n/version", "3")
    return path


_DOUBLED = "y = (y, y)\n" * 60


@pytest.mark.parametrize(
    "forward",
    [
        f"y = 1\n{_DOUBLED}return y",
        f"y = 1\n{_DOUBLED}return torch.foo(y)",
        f"if torch.foo(x):\n  y = 1\n{_DOUBLED.replace('y =', '  y =')}else:\n  y = x",
    ],
)
def test_tuples_that_double(tmp_path: Path, forward: str) -> None:
    with pytest.raises(ModelError, match="more than 10000 values"):
        inspect_file(_archive(tmp_path / "made.pt", forward))


def test_tuples_that_double_in_the_pickle(tmp_path: Path) -> None:
    state = b"}X\x01\x00\x00\x00a)q\x00" + b"0h\x00h\x00\x86q\x00" * 60 + b"s"
    with pytest.raises(ModelError, match="more than 10000 values"):
        inspect_file(_archive(tmp_path / "made.pt", "return self.a", state))


def test_methods_that_do_nothing_often(tmp_path: Path) -> None:
    method = "  def a(self, x):\n" + "    y = 1\n" * 5000 + "    return x\n"
    path = _archive(tmp_path / "made.pt", "x = (self).a(x)\n" * 5000 + "return x", before=method)
    with pytest.raises(ModelError, match="more than 2000000 steps"):
        inspect_file(path)


def test_more_code_than_memory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more code than any model has"):
        inspect_file(_archive(tmp_path / "made.pt", "y = 1\n" * 400_001))


def test_many_calls_and_branches_are_followed(tmp_path: Path) -> None:
    method = "  def a(self, x):\n    self.seen = x\n    return torch.relu(x)\n"
    lines = "".join(f"x{at} = (self).a(x)\n" for at in range(2000))
    branch = "if torch.foo(x):\n  y = torch.relu(x)\nelse:\n  y = torch.tanh(x)\n" * 200
    path = _archive(tmp_path / "made.pt", f"{lines}{branch}return (self.seen, y)", before=method)
    found = inspect_file(path)
    assert found["nodes"] == 2400
    assert found["subgraphs"] == 400
    assert [value["name"] for value in found["outputs"]] == ["x", "If.4800"]


@pytest.mark.parametrize(
    "forward",
    [
        "a = torch.mul(3, 3)\n" + "a = torch.mul(a, a)\n" * 200 + "return torch.zeros([a])",
        "".join(f"{'  ' * at}for i{at} in range(8):\n" for at in range(12))
        + "  " * 12
        + "y = torch.relu(x)\nreturn x",
    ],
)
def test_numbers_and_rounds_that_grow_without_end_are_left_open(tmp_path: Path, forward: str) -> None:
    assert inspect_file(_archive(tmp_path / "made.pt", forward))["format"] == "torchscript"
