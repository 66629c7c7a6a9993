"""Decodes, recolours and resizes images within stated limits; the same code on desk and board."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgestudio.wire.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 64_000_000
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts to "L"
_CHANNELS = (1, 3, 4)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """The image file as uint8 [height, width] (grey) or [height, width, 3] (RGB); InputError otherwise."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                f"the image {path.name} is larger than {MAX_FILE_BYTES >> 20} MiB", code="bad-image"
            )
        return decode_image(path.read_bytes(), f"{path.parent.name}/{path.name}")
    except OSError as error:
        raise InputError(
            f"the image {path} cannot be read: {error.strerror or error}", code="bad-image"
        ) from error


def decode_image(data: bytes, name: str = "image") -> npt.NDArray[np.uint8]:
    """Encoded bytes as uint8 [height, width] or [height, width, 3], upright; InputError for anything but an image."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"the image {name} is larger than {MAX_FILE_BYTES >> 20} MiB", code="bad-image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata and sizes; sizes are judged here
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise InputError(
                        f"the image {name} has {width} x {height} pixels, too many", code="bad-image"
                    )
                upright = ImageOps.exif_transpose(image)  # phones and cameras note how they were held
                if upright.mode.startswith("I;16"):
                    return (np.asarray(upright) >> 8).astype(np.uint8)
                grey = upright.mode in ("1", "L", "LA")
                return np.array(upright.convert("L" if grey else "RGB"))
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"the image {name} has too many pixels", code="bad-image") from error
    except UnidentifiedImageError:
        raise InputError(f"{name} is no image that can be read", code="bad-image") from None
    except Exception as error:
        # Damaged files raise whatever their decoder happens to raise (OSError, SyntaxError, struct.error ...).
        raise InputError(f"the image {name} is damaged: {error}", code="bad-image") from error


def as_hwc(item: Any, name: str) -> npt.NDArray[Any]:
    """An image array in any usual form as [height, width, channels]; InputError when it is none."""
    array = np.asarray(item)
    if array.dtype.kind not in "uif" or array.dtype.hasobject:
        raise InputError(f"the item for '{name}' is no image but {array.dtype}", code="bad-item")
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and 0 not in array.shape and array.size <= MAX_PIXELS * 4:
        if array.shape[2] in _CHANNELS:
            return array
        if array.shape[0] in _CHANNELS:
            return array.transpose(1, 2, 0)
    given = "x".join(map(str, array.shape)) or "scalar"
    raise InputError(f"the item for '{name}' of shape {given} is no image", code="bad-item")


def recoloured(image: npt.NDArray[Any], colour: str) -> npt.NDArray[Any]:
    """[h, w, 1|3|4] as [h, w, 1] for "grey", [h, w, 3] for "rgb" or "bgr"; alpha is dropped."""
    channels = image.shape[2]
    if colour == "grey":
        if channels == 1:
            return image
        luma = image[:, :, :3].astype(np.float32) @ np.asarray(_LUMA, np.float32)
        luma = np.rint(luma).astype(image.dtype) if image.dtype.kind in "ui" else luma.astype(image.dtype)
        return cast("npt.NDArray[Any]", luma[:, :, None])
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    return image[:, :, 2::-1] if colour == "bgr" else image[:, :, :3]


def resized(
    image: npt.NDArray[Any], width: int, height: int, *, mode: str, interpolation: str, pad_value: int
) -> npt.NDArray[Any]:
    """[h, w, c] at `height` x `width`: "stretch", "fit" (padded), "cover" (cropped) or "none" (must match)."""
    have_height, have_width = image.shape[:2]
    if (have_width, have_height) == (width, height):
        return image
    if mode == "none":
        raise InputError(
            f"the image is {have_width} x {have_height}, and the pipeline allows only {width} x {height}",
            hint="Set `resize` to stretch, fit or cover.",
            code="bad-item",
        )
    if mode == "stretch":
        return _scaled(image, width, height, interpolation)
    ratio = (min if mode == "fit" else max)(width / have_width, height / have_height)
    inner_width, inner_height = max(1, round(have_width * ratio)), max(1, round(have_height * ratio))
    scaled = _scaled(image, inner_width, inner_height, interpolation)
    left, top = abs(width - inner_width) // 2, abs(height - inner_height) // 2
    if mode == "cover":
        return scaled[top : top + height, left : left + width]
    canvas = np.full((height, width, image.shape[2]), pad_value, image.dtype)
    canvas[top : top + inner_height, left : left + inner_width] = scaled
    return canvas


def _scaled(image: npt.NDArray[Any], width: int, height: int, interpolation: str) -> npt.NDArray[Any]:
    from PIL import Image

    if width * height > MAX_PIXELS:
        raise InputError(f"an image of {width} x {height} pixels is too large", code="bad-item")
    if interpolation == "nearest":
        rows = (np.arange(height) * image.shape[0]) // height
        columns = (np.arange(width) * image.shape[1]) // width
        picked: npt.NDArray[Any] = image[rows[:, None], columns[None, :]]
        return picked
    resampling = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "area": Image.Resampling.BOX,
    }[interpolation]
    if image.dtype == np.uint8 and image.shape[2] in (1, 3):
        picture = Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))
        scaled = np.asarray(picture.resize((width, height), resampling))
        return scaled[:, :, None] if scaled.ndim == 2 else scaled
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(image[:, :, channel], dtype=np.float32)).resize(
                (width, height), resampling
            )
        )
        for channel in range(image.shape[2])
    ]
    stacked = np.stack(planes, axis=2)
    if image.dtype.kind in "ui":
        bounds = np.iinfo(image.dtype)
        stacked = np.clip(np.rint(stacked), bounds.min, bounds.max)
    return stacked.astype(image.dtype)
