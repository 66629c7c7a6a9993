"""Turns a raw image, sound or tensor into a model's input, as declared in a pipeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from edgestudio.runtime.backend import Affine, Array, TensorSpec
from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.imaging import as_hwc, recoloured, resized
from edgestudio.runtime.pipeline.sound import Sound, resampled
from edgestudio.wire.errors import InputError, RecipeError

MAX_ELEMENTS = 1 << 28
PREPROCESS_VERSION = 2
"""Goes up whenever the same document and item would give other numbers; kept with captured inputs."""
Dtype = Literal["model", "float32", "float16", "float64", "uint8", "int8", "int16", "int32", "int64"]
Per = Annotated[list[float], Field(max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=512)]


class QuantizationOptions(Document):
    """How the model's integers stand for reals, where the file does not say: real = scale * (q - zero_point)."""

    scale: float = Field(gt=0, description="Real size of one integer step.")
    zero_point: int = Field(0, description="The integer that stands for 0.")


class _Normalised(Document):
    """What every measured input shares: x = (raw * scale - mean) / std, then the model's dtype."""

    input: Name | None = Field(None, description="The model's input; may be left out when it has only one.")
    scale: float = Field(1.0, description="The raw values are multiplied by this first.")
    mean: Per = Field([], description="Subtracted after scaling; one number, or one per channel.")
    std: Per = Field([], description="Divided by after the mean; one number, or one per channel.")
    dtype: Dtype = Field(
        "model", description="Element type of the input; 'model' takes the file's, and its quantisation."
    )
    quantization: QuantizationOptions | None = Field(
        None, description="For integer inputs whose quantisation the file does not record."
    )

    @model_validator(mode="after")
    def _numbers_hold(self) -> _Normalised:
        if not all(map(math.isfinite, [self.scale, *self.mean, *self.std])):
            raise ValueError("scale, mean and std must be finite numbers")
        if any(value == 0 for value in self.std):
            raise ValueError("std must not be 0")
        return self


class ImageInput(_Normalised):
    """An image: colour order, resize and crop, scale, layout."""

    kind: Literal["image"] = Field("image", description="A picture, grey or in colour.")
    scale: float = Field(1 / 255, description="Pixels 0..255 are multiplied by this first.")
    width: int | None = Field(None, ge=1, le=16384, description="Pixels; left out: the model's own width.")
    height: int | None = Field(None, ge=1, le=16384, description="Pixels; left out: the model's own height.")
    resize: Literal["stretch", "fit", "cover", "none"] = Field(
        "stretch",
        description="stretch to the size; fit inside and pad; cover it and crop the middle; or none: refuse others.",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "area"] = Field(
        "bilinear", description="How pixels are computed when the size changes."
    )
    pad_value: int = Field(0, ge=0, le=255, description="Grey level of the border that `fit` adds.")
    colour: Literal["rgb", "bgr", "grey"] = Field(
        "rgb", description="Order of the channels that the model expects."
    )
    layout: Literal["model", "nchw", "nhwc", "nhw"] = Field(
        "model",
        description="Order of batch, channel, height, width; 'model' derives it from the input's shape.",
    )


class AudioInput(_Normalised):
    """A sound: sample rate, length, mixed to one channel."""

    kind: Literal["audio"] = Field("audio", description="Sampled sound in -1..1.")
    sample_rate_hz: int = Field(
        ge=100, le=768_000, description="What the model was trained on; others are resampled."
    )
    samples: int | None = Field(
        None,
        ge=1,
        le=1 << 26,
        description="Length after padding with silence or cutting; left out: the model's own.",
    )


class TensorInput(_Normalised):
    """A tensor that is nearly the model's input already."""

    kind: Literal["tensor"] = Field("tensor", description="Numbers as they are, for example features.")
    raw_dtype: Dtype = Field(
        "model", description="Element type of raw .bin files; 'model' takes the input's."
    )
    raw_shape: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, max_length=8, description="Shape of raw .bin files; left out: the model's input."
    )


class ConstantInput(Document):
    """An input that is the same for every item, for example a sample rate."""

    kind: Literal["constant"] = Field(description="The same value each time.")
    input: Name = Field(description="The model's input.")
    value: float | int | bool | list[Any] = Field(description="A number, or nested lists of numbers.")


class StateInput(Document):
    """An input that carries what an output said the last time: recurrent and streaming models."""

    kind: Literal["state"] = Field(description="Fed back from an output; zeros at the start.")
    input: Name = Field(description="The model's input.")
    from_output: Name = Field(description="The output whose value comes back.")


InputDocument = Annotated[
    ImageInput | AudioInput | TensorInput | ConstantInput | StateInput, Field(discriminator="kind")
]
Measured = ImageInput | AudioInput | TensorInput


@dataclass(frozen=True)
class Affinity:
    """Scale and offset that were folded from scale, mean and std: x = raw * factor + offset."""

    factor: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return bool(np.all(self.factor == 1) and np.all(self.offset == 0))


class Preparer:
    """One input's document bound to the model's input; `prepare(item)` gives the array to feed."""

    def __init__(self, document: Measured, spec: TensorSpec) -> None:
        self.document = document
        self.spec = spec
        if spec.dtype == "string":
            raise RecipeError(
                f"the model's input '{spec.name}' takes text, and only numbers can be prepared for a model",
                hint="Put the step from text to numbers into the application, and use what follows it.",
            )
        self._dtype = np.dtype(spec.dtype if document.dtype == "model" else document.dtype)
        options = document.quantization
        self.quantization = Affine(options.scale, options.zero_point) if options else spec.quantization
        self._layout = image_layout(document, spec) if isinstance(document, ImageInput) else ""
        self._affinity = _folded(document, self._layout)

    def prepare(self, item: Any) -> Array:
        """The array of the model's shape and dtype; InputError says what about the item does not fit."""
        if isinstance(self.document, ImageInput):
            values = self._image(item, self.document)
        elif isinstance(self.document, AudioInput):
            values = self._sound(item, self.document)
        else:
            values = self._tensor(item)
        if values.dtype.kind == "f" and not is_finite(values):
            raise InputError(f"the values for '{self.spec.name}' hold NaN or infinity", code="bad-item")
        return values

    def _image(self, item: Any, document: ImageInput) -> Array:
        image = recoloured(as_hwc(item, self.spec.name), document.colour)
        width, height = image_size(document, self.spec, self._layout)
        image = resized(
            image,
            width or image.shape[1],
            height or image.shape[0],
            mode=document.resize,
            interpolation=document.interpolation,
            pad_value=document.pad_value,
        )
        if self._layout == "nchw":
            image = image.transpose(2, 0, 1)
        elif self._layout == "nhw":
            image = image[:, :, 0]
        return self._finished(self._filled(self._applied(image)[None]))

    def _sound(self, item: Any, document: AudioInput) -> Array:
        sound = item if isinstance(item, Sound) else Sound(np.asarray(item), document.sample_rate_hz)
        samples = resampled(sound.mono(), sound.rate_hz, document.sample_rate_hz)
        length = document.samples or own_length(self.spec)
        if length:
            samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
        return self._finished(self._shaped(self._applied(samples)))

    def _tensor(self, item: Any) -> Array:
        array = np.asarray(item)
        if array.dtype.hasobject or array.dtype.kind not in "fiub":
            raise InputError(
                f"the item for '{self.spec.name}' holds no numbers but {array.dtype}", code="bad-item"
            )
        array = self._shaped(array)
        if self._affinity.is_identity and array.dtype == self._dtype:
            return np.asarray(array, order="C")  # keeps a scalar a scalar
        return self._finished(self._applied(array))

    def _applied(self, raw: Array) -> Array:
        values = raw.astype(np.float32)
        if not self._affinity.is_identity:
            values *= self._affinity.factor
            values += self._affinity.offset
        return values

    def _finished(self, values: Array) -> Array:
        if self._dtype.kind == "f":
            return np.asarray(values, dtype=self._dtype, order="C")
        if not is_finite(values):
            raise InputError(f"the values for '{self.spec.name}' hold NaN or infinity", code="bad-item")
        return quantized(values, self.quantization, self._dtype)

    @property
    def _has_fixed_batch(self) -> bool:
        """Whether the model takes several pictures, and never fewer: with four axes the first is the batch."""
        batch = self.spec.shape[0] if len(self.spec.shape) == 4 else None
        return isinstance(batch, int) and batch > 1

    def _filled(self, values: Array) -> Array:
        """One picture as often as the model's fixed batch wants it; the first answer is the one that counts."""
        if not self._has_fixed_batch or len(values) != 1:
            return values
        return np.repeat(values, int(self.spec.shape[0] or 1), axis=0)

    def _shaped(self, array: Array) -> Array:
        """`array` in the model's shape where only unit or open sizes differ."""
        wanted = tuple(size if isinstance(size, int) else None for size in self.spec.shape)
        if len(wanted) == array.ndim and all(
            w in (None, have) for w, have in zip(wanted, array.shape, strict=True)
        ):
            return array
        if _is_turned(wanted, array.shape):
            raise InputError(
                f"an item of shape {_by(array.shape)} has the axes of the model's input '{self.spec.name}' "
                f"({_by(self.spec.shape)}) in another order",
                hint="Save it in the model's order (numpy.transpose), or declare `kind: image` in the pipeline.",
                code="bad-layout",
            )
        if self._has_fixed_batch and array.shape in (wanted[1:], (1, *wanted[1:])):
            return self._filled(array.reshape(1, *array.shape[-3:]))
        # Open sizes are the batch first: one item; a further one takes what is left over.
        sizes = [1 if size is None and position == 0 else size for position, size in enumerate(wanted)]
        known = math.prod(size for size in sizes if size is not None)
        if sizes.count(None) == 1 and known and array.size % known == 0:
            return array.reshape([-1 if size is None else size for size in sizes])
        if None not in sizes and known == array.size:
            return array.reshape([size for size in sizes if size is not None])
        raise InputError(
            f"an item of shape {_by(array.shape)} does not fit the model's input '{self.spec.name}' "
            f"of shape {_by(self.spec.shape)}",
            code="bad-item",
        )


def _is_turned(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    """Whether `given` has the sizes of `wanted`, batch aside, in another order, such as HWC instead of CHW."""
    sizes = [size for size in wanted[1:] if size != 1]
    have = [size for size in given if size != 1]
    return None not in sizes and len(sizes) > 1 and sizes != have and sorted(sizes) == sorted(have)  # type: ignore[type-var]


def _by(shape: Sequence[int | str | None]) -> str:
    return "x".join(str(size) if isinstance(size, int) else "?" for size in shape) or "scalar"


def is_finite(values: Array) -> bool:
    """Whether no value is NaN or infinite: 12 µs for a 600 kB input."""
    return bool(np.isfinite(values).all())


def quantized(values: Array, quantization: Affine | None, dtype: np.dtype[Any]) -> Array:
    """Reals as the integers of `dtype`: rounded half to even and saturated; without quantisation only rounded."""
    if dtype.kind == "b":
        return np.asarray(values != 0)
    if quantization is not None:
        values = values / quantization.scale + quantization.zero_point
    bounds = np.iinfo(dtype)
    integers: Array = np.clip(np.rint(values), bounds.min, bounds.max).astype(dtype)
    return integers


def dequantized(values: Array, quantization: Affine | None) -> Array:
    """The reals (float32) behind a quantised array; anything else as it is."""
    if quantization is None or values.dtype.kind not in "iu":
        return values
    return (values.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale)


def image_layout(document: ImageInput, spec: TensorSpec) -> str:
    """ "nchw", "nhwc" or "nhw"; RecipeError when the shape does not say."""
    if document.layout != "model":
        return document.layout
    shape = spec.shape
    if len(shape) == 3:
        return "nhw"
    if len(shape) == 4:
        channels = (1,) if document.colour == "grey" else (3,)
        if shape[1] in channels:
            return "nchw"
        if shape[3] in channels:
            return "nhwc"
    raise RecipeError(
        f"the image layout of input '{spec.name}' with shape {list(shape)} and colour {document.colour} is unclear",
        hint="Set `layout` to nchw or nhwc, and `colour` to grey for one channel.",
    )


def image_size(document: ImageInput, spec: TensorSpec, layout: str) -> tuple[int | None, int | None]:
    """(width, height) that the document or else the model's shape asks for; None where both are open."""
    row = {"nchw": 2, "nhwc": 1, "nhw": 1}[layout]
    sizes = [size if isinstance(size, int) and size > 0 else None for size in spec.shape]
    own_height = sizes[row] if row < len(sizes) else None
    own_width = sizes[row + 1] if row + 1 < len(sizes) else None
    return document.width or own_width, document.height or own_height


def own_length(spec: TensorSpec) -> int | None:
    """How many samples the model takes at once; None where its shape leaves that open."""
    sizes = [size for size in spec.shape[1:] if size != 1] if len(spec.shape) > 1 else list(spec.shape)
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], int) and sizes[0] > 0 else None


def _folded(document: Measured, layout: str) -> Affinity:
    mean = np.asarray(document.mean or [0.0], np.float64)
    std = np.asarray(document.std or [1.0], np.float64)
    factor = np.broadcast_to(document.scale / std, np.broadcast_shapes(mean.shape, std.shape))
    offset = np.broadcast_to(-mean / std, factor.shape)
    if isinstance(document, ImageInput) and len(factor) not in (1, 1 if document.colour == "grey" else 3):
        raise RecipeError(
            f"mean and std have {len(factor)} numbers, but the image has another number of channels"
        )
    if layout == "nchw":
        factor, offset = factor[:, None, None], offset[:, None, None]
    return Affinity(factor.astype(np.float32), offset.astype(np.float32))
