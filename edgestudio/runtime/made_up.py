"""Made-up inputs for a model without data: sizes that it leaves open are tried until it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from edgestudio.runtime.backend import Array, Session, TensorSpec, random_feeds
from edgestudio.wire.errors import InputError, ModelError

_OPEN_SIZES = (1, 16, 64, 224, 256, 512, 1024)
# Tokens, masks and indices that differ from sample to sample; where a model refuses them, zeros.
_INTEGERS_BELOW = (2, 1)
_WIDE = frozenset({"int16", "int32", "int64", "uint16", "uint32", "uint64"})


@dataclass(frozen=True)
class MadeUp:
    """Inputs of settled sizes that the model runs on, with `below` as the bound of wide integers."""

    inputs: tuple[TensorSpec, ...]
    below: int

    def feeds(self, seed: int) -> dict[str, Array]:
        """Seeded noise, the same on every call."""
        return random_feeds(self.inputs, seed=seed, below=self.below)


def settled(inputs: tuple[TensorSpec, ...]) -> MadeUp | None:
    """The made-up inputs where nothing but the batch is open; None where they can only be found by trying."""
    is_plain = all(
        spec.dtype not in _WIDE and all(isinstance(size, int) for size in spec.shape[1:]) for spec in inputs
    )
    return MadeUp(_closed(inputs, 1, is_first_only=False), _INTEGERS_BELOW[0]) if is_plain else None


def made_up(session: Session) -> MadeUp:
    """What the model runs on; ModelError with its first reason when it never does."""
    reason = ""
    for below, size, is_first_only in product(_INTEGERS_BELOW, _OPEN_SIZES, (False, True)):
        found = MadeUp(_closed(session.inputs, size, is_first_only=is_first_only), below)
        try:
            session.run(found.feeds(0))
        except (ModelError, InputError) as error:
            reason = reason or error.message
        else:
            return found
    raise ModelError(
        f"the model does not run on made-up input: {reason}",
        hint="Give real input with --data, and a pipeline for open sizes.",
        code="run-failed",
    )


def _closed(inputs: tuple[TensorSpec, ...], size: int, *, is_first_only: bool) -> tuple[TensorSpec, ...]:
    """The inputs with `size` for open dimensions, 1 for those of the batch and, where asked, of later inputs."""
    batch = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], str)}
    closed = []
    for number, spec in enumerate(inputs):
        open_size = 1 if is_first_only and number else size
        shape = tuple(
            each if isinstance(each, int) and each >= 0 else (1 if axis == 0 or each in batch else open_size)
            for axis, each in enumerate(spec.shape)
        )
        closed.append(replace(spec, shape=shape))
    return tuple(closed)
