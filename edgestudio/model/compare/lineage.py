"""How two models of the library are related, and what recipes made of the names of operators between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgestudio.model.compare.matching import match
from edgestudio.model.graph import Graph

Names = dict[str, str]
"""Operators' names before a step to those after it, where it changed them."""
_DEEPEST = 1000


class Made(Protocol):
    """What lineage needs to know of a model: what it was made from, and the record of how."""

    @property
    def parent(self) -> str | None:
        """The hash of the model that it was made from."""

    @property
    def recipe(self) -> str | None:
        """The name of the recipe."""

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """What each step of the recipe did; `names` of a step are the operators that it renamed."""


@dataclass(frozen=True, slots=True)
class Relation:
    """`names` lead from the operators of one model to those of the other; `recipes` made the one from the other.

    `ancestor` is the model that both come from, one of the two itself where it is the other's ancestor.
    """

    names: Mapping[str, str]
    recipes: tuple[str, ...]
    ancestor: str


def related(a: str, b: str, get: Callable[[str], Made | None]) -> Relation | None:
    """How models `a` and `b` are related, by their hashes; None when nothing is known of it."""
    above_a, above_b = _chain(a, get), _chain(b, get)
    ancestor = next((key for key in above_a if key in above_b), None)
    if ancestor is None or a == b:
        return None
    to_a = _names(above_a[: above_a.index(ancestor)], get)
    to_b = _names(above_b[: above_b.index(ancestor)], get)
    names = {}
    for old in (*to_a, *to_b):
        names[to_a.get(old, old)] = to_b.get(old, old)
    recipes = [key for chain in (above_a, above_b) for key in chain[: chain.index(ancestor)][::-1]]
    titles = (made.recipe for key in recipes if (made := get(key)) is not None)
    return Relation(
        {old: new for old, new in names.items() if old != new}, tuple(t for t in titles if t), ancestor
    )


def renamed(before: Graph, after: Graph, known: Mapping[str, str] | None = None) -> Names:
    """What a step made of operators' names, as far as the two graphs tell; `known` is what it says itself."""
    pairs = match(before, after, known)
    names = ((before.nodes[i].name, after.nodes[j].name) for i, j in pairs)
    return {old: new for old, new in names if old and new and old != new}


def composed(first: Mapping[str, str], then: Mapping[str, str]) -> Names:
    """The names after two steps."""
    names = {old: then.get(new, new) for old, new in first.items()}
    given = set(first.values())
    names.update({old: new for old, new in then.items() if old not in given and old not in names})
    return names


def _names(chain: Sequence[str], get: Callable[[str], Made | None]) -> Names:
    """From an ancestor's names to those of the youngest of a chain, which begins with it."""
    names: Names = {}
    for key in reversed(chain):
        made = get(key)
        for step in made.steps if made is not None else ():
            given = step.get("names")
            names = composed(names, given if isinstance(given, Mapping) else {})
    return names


def _chain(key: str, get: Callable[[str], Made | None]) -> list[str]:
    """A model and what it was made from, youngest first; a parent that is gone ends it."""
    chain = [key]
    while len(chain) < _DEEPEST:
        made = get(chain[-1])
        if made is None or made.parent is None or made.parent in chain:
            return chain
        chain.append(made.parent)
    return chain
