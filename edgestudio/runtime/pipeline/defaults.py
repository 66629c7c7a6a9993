"""What a model's inputs and outputs suggest about its pipeline, where nobody declared one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from edgestudio.runtime.backend import TensorSpec
from edgestudio.runtime.pipeline.preprocess import ImageInput

_IMAGE_CHANNELS = (1, 3)
# Pixels that were scaled, or standardised by the usual means and deviations, stay below this.
_STANDARDISED = 4.0


def is_prepared(sample: Any, spec: TensorSpec) -> bool:
    """Whether `sample` holds reals in the model's own shape, so that nothing is left to prepare."""
    array = np.asarray(sample) if sample is not None and not isinstance(sample, Mapping) else None
    if array is None or array.dtype.kind != "f":
        return False
    shape = spec.concrete()
    return array.shape in (shape, shape[1:])


def image_default(spec: TensorSpec, sample: Any) -> ImageInput | None:
    """How a picture becomes the input `spec`; None when that does not look like a picture's."""
    shape = spec.shape
    if len(shape) == 3 and getattr(sample, "dtype", None) == np.uint8 and np.ndim(sample) == 2:
        shape = (*shape, 1)  # rows of a picture, as recurrent models read them
    if len(shape) != 4 or spec.dtype not in ("float32", "float16", "uint8", "int8"):
        return None
    if shape[1] in _IMAGE_CHANNELS:
        layout: Literal["nchw", "nhwc", "nhw"] = "nchw"
        sides, channels = shape[2:], shape[1]
    elif shape[3] in _IMAGE_CHANNELS:
        layout, sides, channels = "nhwc" if len(spec.shape) == 4 else "nhw", shape[1:3], shape[3]
    else:
        return None
    # Features such as 49 x 10 spectrograms have one channel too; pictures are rarely that narrow.
    if any(isinstance(side, int) and side < 8 for side in sides):
        return None
    if all(isinstance(side, int) for side in sides) and max(sides) > 4 * min(sides):  # type: ignore[type-var, operator]
        return None
    scale, mean = (1.0 if _is_scaled(sample) else 1 / 255), 0.0
    if spec.dtype in ("uint8", "int8"):
        # Pixel for integer: uint8 as it is, int8 as pixel - 128, whatever reals they stand for.
        lowest = int(np.iinfo(spec.dtype).min)
        step, zero = (
            (spec.quantization.scale, spec.quantization.zero_point) if spec.quantization else (1.0, 0)
        )
        scale, mean = step, step * (zero - lowest)
    return ImageInput(
        kind="image", input=spec.name, colour="grey" if channels == 1 else "rgb",
        layout=layout, scale=scale, mean=[mean] if mean else [],
    )  # fmt: skip


def _is_scaled(sample: Any) -> bool:
    """Whether `sample` holds reals that cannot be pixels of 0 to 255 any more: in 0 to 1, or standardised."""
    if getattr(sample, "dtype", None) is None or sample.dtype.kind != "f" or not sample.size:
        return False
    return bool(np.abs(sample).max() <= _STANDARDISED)


def scores_of(outputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The output that scores classes: the only one, or the only one beside the answer as a label."""
    labels = [spec for spec in outputs if len(spec.shape) <= 1 and spec.dtype in ("int64", "int32", "string")]
    scores = [spec for spec in outputs if spec not in labels]
    return scores[0] if len(scores) == 1 and classes_of(scores) else None


def classes_of(outputs: Sequence[TensorSpec]) -> int | None:
    """How many classes the first output scores, None when it is no row of scores."""
    if not outputs:
        return None
    sizes = [size for size in outputs[0].shape[1:] if size != 1]
    plain = len(outputs[0].shape) in (2, 4) and len(sizes) == 1 and outputs[0].dtype not in ("string", "bool")
    return sizes[0] if plain and isinstance(sizes[0], int) and sizes[0] >= 2 else None
