"""Sorts operators of every format into families, and gives each a colour that reads in light and in dark."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of operator; `light` and `dark` are the hues on a light and a dark ground."""

    title: str
    light: str
    dark: str


CONVOLUTION = Family("Convolution", "#2f62d0", "#7ea2ff")
MATRIX = Family("Matrix product", "#7446c9", "#b79bff")
NORMALISATION = Family("Normalisation", "#0c7f79", "#4fcac0")
ACTIVATION = Family("Activation", "#c03a54", "#ff8f9c")
POOLING = Family("Pooling, reduction", "#39803a", "#7fd084")
SHAPE = Family("Shape, data movement", "#93661d", "#d9b068")
QUANTISATION = Family("Quantisation", "#a93a91", "#e884c0")
CONTROL = Family("Recurrence, control", "#b5501a", "#f2a65a")
ARITHMETIC = Family("Arithmetic", "#5d6879", "#a3adbd")
TERMINAL = Family("Model input, output", "#16181d", "#eceef2")
GROUP = Family("Group", "#2f55d4", "#8fa8ff")
OTHER = Family("Other", "#6f6f76", "#b0b0b8")

_WORDS: tuple[tuple[Family, str], ...] = (
    (QUANTISATION, "quant fakequant scale_?shift"),
    (CONVOLUTION, "conv"),
    (
        MATRIX,
        "gemm matmul mat_mul fully_?connected linear inner_?product einsum attention dense ^(aten::)?(mm|bmm|addmm)$",
    ),
    (NORMALISATION, "norm lrn"),
    (CONTROL, "lstm gru rnn ^if$ loop while scan ^call partition statefuloperator"),
    (
        ACTIVATION,
        "softmax relu sigmoid tanh gelu elu swish silu hard_?s mish activation softplus logistic clip erf",
    ),
    (POOLING, "pool reduce mean argm topk nonmaxsuppression nms cumsum"),
    (
        SHAPE,
        "reshape transpose permute concat slice split gather scatter squeeze flatten expand tile pad resize",
    ),
    (
        SHAPE,
        "upsample shape cast identity pack stack constant range fill embedding depth_?to space_?to view crop",
    ),
    (SHAPE, "where copy dropout"),
    (
        ARITHMETIC,
        "add sub mul div pow sqrt exp log neg abs min max sum equal greater less and or not floor ceil",
    ),
    (ARITHMETIC, "round mod sin cos"),
)
_COMPILED = tuple((re.compile("|".join(words.split())), family) for family, words in _WORDS)


@lru_cache(maxsize=4096)
def family_of(operator: str) -> Family:
    """The family of an operator by its name in any format (`Conv`, `CONV_2D`, `aten::conv2d`)."""
    name = operator.lower()
    for pattern, family in _COMPILED:
        if pattern.search(name):
            return family
    return OTHER
