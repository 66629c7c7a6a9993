"""The differences of two models as rows and words: what it is, which node on each side, and what exactly differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS = {"removed": "only in A", "changed": "changed", "added": "only in B"}
_MANY = 8
"""So many weights of one operator are told; a recurrent one has dozens."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: its kind, its node on each side (-1 where there is none), and what differs in lines.

    `is_quantising` is an operator that only quantises or dequantises what others compute, `is_folded` one whose work
    an operator of the other side does along with its own.
    """

    kind: str
    title: str
    a: int
    b: int
    details: str = ""
    is_quantising: bool = False
    is_folded: bool = False


def differences(result: Mapping[str, Any]) -> list[Difference]:
    """The differences in the result of a `diff`, in the order of the graphs."""
    found = []
    for kind in ("removed", "added", "changed"):
        for row in result.get(kind, ()):
            a = int(row["a"]) if kind == "changed" else int(row["index"]) if kind == "removed" else -1
            b = int(row["b"]) if kind == "changed" else int(row["index"]) if kind == "added" else -1
            is_quantising = row.get("role") == "quantisation"
            is_folded = bool(row.get("into") or row.get("from"))
            found.append(Difference(kind, _title(row), a, b, details(row), is_quantising, is_folded))
    return sorted(found, key=lambda each: max(each.a, each.b))


def counts(found: list[Difference]) -> dict[str, int]:
    """How many there are of each kind; `quantising` and `folded` count those that are no more than that."""
    by_kind = {kind: sum(each.kind == kind for each in found) for kind in WORDS}
    quantising = sum(each.is_quantising for each in found)
    folded = sum(each.is_folded and not each.is_quantising for each in found)
    return {**by_kind, "quantising": quantising, "folded": folded}


def details(row: Mapping[str, Any]) -> str:
    """What exactly differs, a line each: attributes, shape, type, and how far the weights are apart."""
    lines = [f"{row.get('op', '')}  {short(row.get('name'))}".rstrip()]
    if row.get("into"):
        lines.append(f"Its work is done by {short(row['into'])}")
    if row.get("from"):
        lines.append(f"Its work was done by {short(row['from'])}")
    for key, title in (("operator", "Operator"), ("shape", "Shape"), ("dtype", "Type")):
        if key in row:
            lines.append(f"{title}: {_shown(row[key][0])} → {_shown(row[key][1])}")
    for name, (old, new) in dict(row.get("attributes") or {}).items():
        lines.append(f"{name}: {_shown(old)} → {_shown(new)}")
    weights = list(row.get("weights") or ())
    for weight in weights[:_MANY]:
        facts = [
            f"{key} {_shown(weight[key][0])} → {_shown(weight[key][1])}"
            for key in ("dtype", "shape")
            if key in weight
        ]
        if "max_abs" in weight:
            facts.append(
                f"largest difference {weight['max_abs']:.3g}, relative {_part(weight['relative'])}, "
                f"cosine {weight['cosine']:.5f}"
            )
        if "epsilon" in weight:
            old, new = weight["epsilon"]
            facts.append(
                f"because a normalisation was folded in with epsilon {new:.4g} in place of {old:.4g}"
            )
        lines.append(f"Weight {short(weight['name'])}: {', '.join(facts)}")
    if len(weights) > _MANY:
        lines.append(f"and {len(weights) - _MANY} more weights")
    return "\n".join(lines)


def _part(relative: float) -> str:
    return f"{relative:.2%}" if relative >= 1e-4 else f"{relative:.1e}"


def value_text(row: Mapping[str, Any], side: str) -> str:
    """An input or output of one side as text: its name, type and shape."""
    value = row.get(side)
    if not value:
        return "none"
    return f"{short(value['name'])}  {value['dtype']} {_shown(value['shape'])}".rstrip()


def short(name: object) -> str:
    """A name without what a converter joined to it; TFLite names an operator by all that was folded into it."""
    return str(name or "").partition(";")[0]


def _title(row: Mapping[str, Any]) -> str:
    keys = ("operator", "attributes", "shape", "dtype", "weights")
    what = [key for key in keys if key in row] + (["folded"] if row.get("into") or row.get("from") else [])
    return f"{row.get('op', '')}  {short(row.get('name'))}" + (f"  ({', '.join(what)})" if what else "")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "×".join("?" if each is None else str(each) for each in value) or "scalar"
    return "none" if value is None else str(value)
