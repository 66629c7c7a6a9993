"""How many dimensions data has, where nothing but the questions of TorchScript's code tells."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast

from edgestudio.model.formats.torch_calls import Argument
from edgestudio.model.formats.torch_parts import Ref
from edgestudio.model.formats.torch_shapes import READ_AS
from edgestudio.model.graph import Node

_FEW = 2
"""Data comes in batches: code that takes single rows or images too is read as for the batches."""


class Ranks:
    """The numbers of dimensions that code asks for and that are not known, and what its questions make of them."""

    def __init__(self, known: dict[str, Argument], warnings: list[str]) -> None:
        """`known` takes the ranks that are assumed, and `warnings` says so."""
        self._known = known
        self._warnings = warnings
        self._asked: dict[str, tuple[Ref, MutableMapping[str, Any]]] = {}
        self._sizes: dict[str, Ref] = {}
        self._settled: dict[str, int] = {}
        self.inputs: set[str] = set()

    def note(self, path: str, source: Ref, out: Ref, node: Node) -> None:
        """Remember whose number of dimensions `out` is: asked for directly, or as the length of all sizes."""
        if path == "torch.dim":
            self._asked[out.key] = source, cast("dict[str, Any]", node.attributes)
        elif path == "torch.size" and len(node.inputs) == 1 and not node.attributes:
            self._sizes[out.key] = source
        elif path == "torch.len" and source.key in self._sizes:
            self._asked[out.key] = self._sizes[source.key], cast("dict[str, Any]", node.attributes)

    def number(self, value: Any) -> Any:
        """The number in the place of a rank that has been settled; all else as it is."""
        return self._settled.get(value.key, value) if isinstance(value, Ref) else value

    def answer(self, path: str, arguments: list[Any], *, is_library: bool) -> bool | None:
        """Whether a rank that nothing in the file fixes is the one asked for; None for any other call.

        What a model itself asks of its inputs stays a choice, made by the sizes that they are given.
        """
        if path not in ("torch.eq", "torch.ne") or len(arguments) != 2:
            return None
        asked, rank = arguments
        source, _ = self._asked.get(asked.key, (None, {})) if isinstance(asked, Ref) else (None, {})
        if source is None or type(rank) is not int or not (is_library or source.key not in self.inputs):
            return None
        if rank > _FEW:
            self._settle(source, rank)
        return (rank > _FEW) == (path == "torch.eq")

    def _settle(self, source: Ref, rank: int) -> None:
        self._known.setdefault(source.key, Argument((None,) * rank))
        for key, (other, attributes) in self._asked.items():
            if other == source:
                self._settled[key] = rank
                attributes[READ_AS] = rank
        self._warnings.append(
            f"the code asks how many dimensions its data has; it is shown as for {rank}, which are a batch"
        )
