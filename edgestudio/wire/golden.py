"""Golden inputs with their expected outputs: what a release must still answer on the board that runs it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.wire.errors import InputError

MAX_SAMPLES = 16
MAX_BYTES = 256 << 20
_IN, _OUT = "in:", "out:"

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Golden:
    """Tensors by name, each stacked on a new first axis: `inputs[name][i]` is what sample i feeds to `name`.

    A model whose answers are random has no expected outputs: its samples are there to infer on.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    def __post_init__(self) -> None:
        counts = {len(array) for array in (*self.inputs.values(), *self.outputs.values())}
        if not self.inputs or len(counts) != 1 or not 1 <= counts.pop() <= MAX_SAMPLES:
            raise InputError(
                f"golden inputs and outputs must be the same 1 to {MAX_SAMPLES} samples",
                code="bad-golden",
            )

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __iter__(self) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
        """(feeds, expected outputs) of each sample."""
        for index in range(len(self)):
            yield (
                {name: array[index] for name, array in self.inputs.items()},
                {name: array[index] for name, array in self.outputs.items()},
            )

    def save(self, path: Path) -> None:
        """Write the `.npz` that travels with a release."""
        arrays = {_IN + name: array for name, array in self.inputs.items()}
        arrays |= {_OUT + name: array for name, array in self.outputs.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Golden:
        """Read what `save` wrote; InputError when it is anything else. Never unpickles."""
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                    raise InputError("the golden file unpacks to too much", code="bad-golden")
            with np.load(path, allow_pickle=False) as arrays:
                inputs = {k[len(_IN) :]: arrays[k] for k in arrays.files if k.startswith(_IN)}
                outputs = {k[len(_OUT) :]: arrays[k] for k in arrays.files if k.startswith(_OUT)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"the golden file cannot be read: {error}", code="bad-golden") from error
        if any(array.ndim == 0 for array in (*inputs.values(), *outputs.values())):
            raise InputError("a golden tensor has no sample axis", code="bad-golden")
        return cls(inputs, outputs)
