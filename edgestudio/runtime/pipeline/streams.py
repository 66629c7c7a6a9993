"""Opens the sources that are asked for their next item: folders, windows of sound, rows of tensors, cameras."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from edgestudio.runtime.arrays import open_rows, read_npy
from edgestudio.runtime.backend import TensorSpec
from edgestudio.runtime.pipeline.live import AudioSource, CameraSource, TensorSource
from edgestudio.runtime.pipeline.sound import AUDIO_SUFFIXES, Sound, read_windows
from edgestudio.runtime.pipeline.sources import FolderSource, Item, RawLayout, open_source
from edgestudio.wire.errors import EdgeStudioError, InputError, RecipeError

MAX_KEPT = 256
_NEEDS_OPENCV = "not available: install opencv-python-headless"


class Feed:
    """Items one after another, from the start again where the source loops. Not thread-safe."""

    def __init__(self, open_items: Callable[[], Iterator[Item]], *, loops: bool) -> None:
        self._open = open_items
        self._loops = loops
        self._items: Iterator[Item] | None = None
        self.rounds = 0
        """How often the source came to its end."""

    def next(self) -> Item:
        """The next item; InputError (code `source-ended`) behind the last one."""
        for _ in range(2):
            if self._items is None:
                if self.rounds and not self._loops:
                    break
                self._items = self._open()
            item = next(self._items, None)
            if item is not None:
                return item
            self._items = None
            self.rounds += 1
        raise InputError("the source has come to its end", code="source-ended")

    def close(self) -> None:
        """Let go of files and cameras."""
        close = getattr(self._items, "close", None)
        self._items, self.rounds, self._loops = None, 1, False
        if close is not None:
            close()


def open_feed(
    source: FolderSource | AudioSource | TensorSource | CameraSource,
    folder: Path,
    *,
    inputs: Sequence[TensorSpec] = (),
    labels: Sequence[str] = (),
    raw: RawLayout | None = None,
) -> Feed:
    """Open `source`, whose paths are relative to `folder`, and read its first item as proof.

    RecipeError or InputError says what is missing; a camera without OpenCV is "not available" and says what
    to install.
    """
    open_items = _opener(source, folder, inputs, labels, raw)
    feed = Feed(open_items, loops=source.loops)
    try:
        first = feed.next()
    except InputError as error:
        feed.close()
        if error.code == "source-ended":
            raise RecipeError(
                "the source holds no items", hint="Look at its path.", code="no-items"
            ) from error
        raise
    items = feed._items

    def from_the_first() -> Iterator[Item]:
        yield first
        if items is not None:
            yield from items

    feed._items = from_the_first()
    return feed


def _opener(
    source: Any,
    folder: Path,
    inputs: Sequence[TensorSpec],
    labels: Sequence[str],
    raw: RawLayout | None,
) -> Callable[[], Iterator[Item]]:
    if isinstance(source, CameraSource):
        return lambda: _frames(source, folder)
    path = folder / source.path
    if isinstance(source, AudioSource):
        files = _sounds(path)
        return lambda: _sound_windows(files, source)
    if isinstance(source, TensorSource):
        return lambda: _tensor_rows(path, source, inputs)
    items = open_source(path, labels=labels, raw=raw)
    if len(items) <= MAX_KEPT:  # read once and kept: a board's card is slow, and wears
        kept: list[Item] = []
        return lambda: _kept(items, kept)
    return lambda: iter(items)


def _kept(items: Any, kept: list[Item]) -> Iterator[Item]:
    yield from kept
    for item in islice(iter(items), len(kept), None):
        kept.append(item)
        yield item


def _sounds(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in AUDIO_SUFFIXES)
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise RecipeError(f"there is no .wav file at {path.name}", hint="Check the path.", code="no-file")
    return files


def _sound_windows(files: Sequence[Path], source: AudioSource) -> Iterator[Item]:
    for file in files:
        for number, sound in enumerate(read_windows(file, source.window, source.hop)):
            if len(sound.samples) < source.window and number:
                break  # the end of a file, shorter than what the model was trained on
            yield Item(Sound(sound.samples, sound.rate_hz), None, f"{file.name}[{number}]")


def _tensor_rows(path: Path, source: TensorSource, inputs: Sequence[TensorSpec]) -> Iterator[Item]:
    if path.suffix.lower() == ".npy":
        for number, row in enumerate(read_npy(path)):
            yield Item(row, None, f"{path.name}[{number}]")
        return
    names = list(source.arrays)
    if not names:
        named = [spec.name for spec in inputs if open_rows(path, spec.name, is_required=False) is not None]
        names = named or ["x"]
    rows = [open_rows(path, name) for name in names]
    if len({len(part) for part in rows}) != 1:
        raise RecipeError(f"the arrays in {path.name} differ in their number of rows")
    is_single = len(names) == 1 and len(inputs) <= 1
    for number, parts in enumerate(zip(*rows, strict=True)):
        item = parts[0] if is_single else dict(zip(names, parts, strict=True))
        yield Item(item, None, f"{path.name}[{number}]")


def _frames(source: CameraSource, folder: Path) -> Iterator[Item]:
    cv2 = _opencv()
    where: Any = source.device
    if isinstance(where, str) and "://" not in where:
        where = str(folder / where)
    capture = cv2.VideoCapture(where)
    try:
        if not capture.isOpened():
            raise RecipeError(
                f"the camera {source.device} is not available: it cannot be opened",
                hint="Is it connected, and may the agent's user read it (group video)?",
                code="no-camera",
            )
        if source.width:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, source.width)
        if source.height:
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, source.height)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest
        number = 0
        while True:
            is_read, frame = capture.read()
            if not is_read:
                return
            yield Item(frame[:, :, ::-1].copy() if frame.ndim == 3 else frame, None, f"frame {number}")
            number += 1
    finally:
        capture.release()


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise RecipeError(
            f"the camera is {_NEEDS_OPENCV}",
            hint="On the board: pip install opencv-python-headless, in the agent's environment.",
            code="no-opencv",
        ) from error


def problem_of(error: EdgeStudioError) -> str:
    """Why a source cannot be used, in one line for telemetry."""
    return error.in_full[:500]
