"""Reads any supported model into the format-neutral graph: one table of formats, imported on use."""

from __future__ import annotations

import importlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgestudio.model.allocation import uncollected
from edgestudio.model.content import refuse_os_error
from edgestudio.model.detect import Recognised, detect
from edgestudio.model.foreign import article
from edgestudio.model.graph import Model
from edgestudio.model.texts import writable
from edgestudio.runtime.format_names import format_title
from edgestudio.wire.errors import ModelError

READERS = {
    "onnx": "edgestudio.model.formats.onnx:read",
    "tflite": "edgestudio.model.formats.tflite:read",
    "coreml": "edgestudio.model.formats.coreml:read",
    "keras": "edgestudio.model.formats.keras:read",
    "savedmodel": "edgestudio.model.formats.savedmodel:read",
    "graphdef": "edgestudio.model.formats.graphdef:read",
    "metagraph": "edgestudio.model.formats.metagraph:read",
    "torchscript": "edgestudio.model.formats.torchscript:read",
    "torch-export": "edgestudio.model.formats.torch_export:read",
    "safetensors": "edgestudio.model.formats.safetensors:read",
    "state-dict": "edgestudio.model.formats.state_dict:read",
    "openvino": "edgestudio.model.formats.openvino:read",
    "tensorrt": "edgestudio.model.formats.tensorrt:read",
    "graph-part": "edgestudio.model.formats.graph_part:read",
}
# Their names come from JSON, pickles, HDF5 or source code; protocol buffers and flat buffers are read as UTF-8.
_OF_OTHER_TEXTS = frozenset({"keras", "torchscript", "torch-export", "state-dict", "safetensors"})
# What a reader may meet in a damaged file; anything else that is raised is a bug in the reader.
_DAMAGE = (
    ValueError, LookupError, TypeError, ArithmeticError, struct.error, zipfile.BadZipFile, zlib.error, RecursionError,
    EOFError, NotImplementedError,
)  # fmt: skip


def read_model(path: Path) -> Model:
    """The structure of the model at `path`; raises ModelError saying what is wrong with it."""
    return read_recognised(detect(path))


def read_recognised(found: Recognised) -> Model:
    """As `read_model`, for what `detect` found; none of the file's code is run."""
    module, _, name = READERS[found.format].partition(":")
    read = getattr(importlib.import_module(module), name)
    with uncollected(), refuse_damage(found):
        model = read(found)
        assert isinstance(model, Model)
        return writable(model) if found.format in _OF_OTHER_TEXTS else model


@contextmanager
def refuse_damage(found: Recognised) -> Iterator[None]:
    """Turn what a reader meets in a damaged file into a ModelError; other exceptions are bugs and pass."""
    try:
        yield
    except ModelError:
        raise
    except _DAMAGE as error:
        reason = str(error).strip() or type(error).__name__
        title = format_title(found.format)
        raise ModelError(
            f"{found.path.name} is {article(title)} {title} file that is damaged: {reason[:300]}.",
            hint="Fetch it again and compare its size or checksum with the source.",
            code="damaged-model",
        ) from error
    except OSError as error:
        raise refuse_os_error(found.path, error) from error
    except MemoryError:
        raise ModelError(
            f"{found.path.name} needs more memory to read than there is.",
            hint="Close other programs; if it should be small, the file is damaged or hostile.",
            code="too-large",
        ) from None
