"""Weights of recurrent layers in one order: formats keep the same gates one after another, each in its own order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from edgestudio.model.arrays import Array
from edgestudio.model.operator_words import meaning
from edgestudio.model.totals.constants import Weights

GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True, slots=True)
class Gated:
    """Weights of one layer and direction as gates, states, inputs; the bias is the sum of all that are added."""

    inputs: Array
    states: Array
    bias: Array

    def orders(self) -> Iterator[Gated]:
        """The same with the gates in every order."""
        for order in permutations(range(len(self.bias))):
            at = list(order)
            yield Gated(self.inputs[at], self.states[at], self.bias[at])


def gated(weights: Weights, i: int) -> Gated | None:
    """The weights of recurrent operator `i`; None for several layers or directions, and where they are not known."""
    node = weights.graph.nodes[i]
    gates = GATES.get(meaning(node), 0)
    values = [weights.value(place) for place in weights.places(node)]
    known = [np.squeeze(each) for each in values if each is not None and each.dtype.kind == "f"]
    matrices = [each for each in known if each.ndim == 2]
    if not gates or len(matrices) < 2 or len(known) != len(values):
        return None
    states = min(matrices[1].shape)
    turned = []
    for matrix in matrices[:2]:
        if matrix.shape[0] != gates * states and matrix.shape[1] == gates * states:
            matrix = matrix.T
        if matrix.shape[0] != gates * states:
            return None
        turned.append(matrix.reshape(gates, states, -1))
    rest = [each for each in matrices[2:] if each.shape[1] != gates * states]
    if rest or turned[1].shape[2] != states:
        return None
    bias = np.zeros((gates, states))
    for each in [*(each for each in known if each.ndim < 2), *matrices[2:]]:
        if each.size % bias.size:
            continue  # initial states and lengths
        bias = bias + each.reshape(-1, gates, states).sum(axis=0)
    return Gated(turned[0], turned[1], bias)
