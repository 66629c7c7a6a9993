"""What is put through a model's pipeline, as the agent hands it to the model's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgestudio.agent.run.channel import Array


@dataclass(frozen=True)
class Work:
    """Something to put through a pipeline.

    `kind` is "item" (one raw item under "input", or by input name where `meta` says `is_mapping`; `rate_hz` makes
    it a sound), "payload" (bytes under "input", `meta` names their `payload` kind), "feeds" (prepared tensors),
    "outputs" (to be interpreted only), "sample" (number `index` of the model's own source) or, before anybody has
    chosen a sample, "tick".
    """

    kind: str
    arrays: Mapping[str, Array] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0

    @property
    def is_passed_on(self) -> bool:
        """Whether another model of the board asks: it is answered plainly, or two could ask each other for ever."""
        return bool(self.meta.get("is_passed_on"))

    def passed_on(self) -> Work:
        """The same work on behalf of another model."""
        return Work(self.kind, self.arrays, {**self.meta, "is_passed_on": True}, self.index)

    def request(self) -> dict[str, Any]:
        """As it goes into a frame."""
        return {"kind": self.kind, "meta": dict(self.meta), "index": self.index}


def work_of(prepared: Mapping[str, Any]) -> Work:
    """What another model is asked when this one's `prepared` item (`raw`, `raw_kind`, `feeds`) is passed on."""
    kind = prepared.get("raw_kind", "")
    if not kind:
        return Work("feeds", prepared.get("feeds") or {}).passed_on()
    meta = {"is_mapping": kind == "mapping", "rate_hz": prepared.get("rate_hz") if kind == "sound" else None}
    return Work("item", prepared["raw"], meta).passed_on()
