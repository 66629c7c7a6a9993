"""What can be done to a model: one table of passes as data; the code behind each is imported on use."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from edgestudio.optimize.step import StepContext, StepReport
from edgestudio.runtime.format_names import format_title, format_titles
from edgestudio.wire.errors import RecipeError, RefusedError

PLUGIN_GROUP = "edgestudio.plugins"
PassFunction = Callable[[Path, Path, Any, StepContext], StepReport]


@dataclass(frozen=True, slots=True)
class Need:
    """A Python module that a pass needs, and the extra of EdgeStudio that brings it ("" = the base)."""

    module: str
    extra: str = ""


@dataclass(frozen=True, slots=True)
class PassSpec:
    """One pass. `runs` maps the format that it takes to "module:function"; `needs` are per format too.

    `is_edit` marks changes to the graph as the user drew it, which run before any canonicalising.
    """

    id: str
    title: str
    description: str
    options: str
    runs: Mapping[str, str]
    needs: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)
    needs_data: bool = False
    is_edit: bool = False
    is_lossy: bool = True
    problem: str = ""

    @property
    def takes(self) -> tuple[str, ...]:
        """Formats that the pass takes."""
        return tuple(self.runs)


_PASSES = "edgestudio.optimize.passes"
_ONNX = (Need("onnx"), Need("onnxruntime"))
_FP16 = (*_ONNX, Need("onnxconverter_common"))
_AEQ = (Need("ai_edge_quantizer"), Need("ai_edge_litert"))


def _spec(module: str, **fields: Any) -> PassSpec:
    """A built-in whose options are the class `Options` of its own module."""
    return PassSpec(options=f"{_PASSES}.{module}:Options", **fields)


BUILT_IN: tuple[PassSpec, ...] = (
    _spec(
        "canonical",
        id="canonicalise",
        title="Clean up the graph",
        description="Raises old opsets, folds constants, fuses and removes what does nothing. Runs before every "
        "other pass, which all expect such a graph.",
        runs={"onnx": f"{_PASSES}.canonical:run"},
        needs={"onnx": (*_ONNX, Need("onnxslim"))},
        is_lossy=False,
    ),
    _spec(
        "fp16",
        id="fp16",
        title="FP16",
        description="Half-precision weights: half the size, next to no error. Faster on GPUs, NPUs and newer ARM "
        "cores; not on x86 CPUs.",
        runs={"onnx": f"{_PASSES}.fp16:run", "tflite": f"{_PASSES}.tflite:fp16"},
        needs={"onnx": _FP16, "tflite": _AEQ},
    ),
    _spec(
        "int8_dynamic",
        id="int8-dynamic",
        title="INT8 dynamic",
        description="8-bit weights; activations are quantised while running. Needs no data. Good for "
        "transformers and wide fully connected layers.",
        runs={"onnx": f"{_PASSES}.int8_dynamic:run", "tflite": f"{_PASSES}.tflite:int8_dynamic"},
        needs={"onnx": _ONNX, "tflite": _AEQ},
    ),
    _spec(
        "int8_static",
        id="int8-static",
        title="INT8 static",
        description="8-bit weights and activations with ranges measured on your data: the smallest and usually "
        "the fastest on CPUs.",
        runs={"onnx": f"{_PASSES}.int8_static:run", "tflite": f"{_PASSES}.tflite:int8_static"},
        needs={"onnx": _ONNX, "tflite": _AEQ},
        needs_data=True,
    ),
    _spec(
        "weight_only",
        id="weight-only",
        title="Weights only (8 or 4 bit)",
        description="Stores weights in 8 or 4 bits and computes in float: for models that are limited by size or "
        "memory bandwidth.",
        runs={"onnx": f"{_PASSES}.weight_only:run", "tflite": f"{_PASSES}.tflite:weight_only"},
        needs={"onnx": _ONNX, "tflite": _AEQ},
    ),
    _spec(
        "prune",
        id="prune-magnitude",
        title="Magnitude pruning",
        description="Sets the smallest weights to zero. The file and the latency stay as they are; the download "
        "gets smaller once compressed.",
        runs={"onnx": f"{_PASSES}.prune:run"},
        needs={"onnx": _ONNX},
    ),
    _spec(
        "cluster",
        id="cluster-weights",
        title="Weight clustering",
        description="Gives every layer a small code book of weight values (k-means), stored as look-up tables in "
        "the graph.",
        runs={"onnx": f"{_PASSES}.cluster:run"},
        needs={"onnx": _ONNX},
    ),
    *(
        PassSpec(
            id=pass_id,
            title=title,
            description=description,
            options=f"{_PASSES}.edits:{options}",
            runs={"onnx": f"{_PASSES}.edits:{function}"},
            needs={"onnx": _ONNX},
            is_edit=True,
            is_lossy=False,
        )
        for pass_id, title, description, options, function in (
            ("rename", "Rename", "Renames inputs, outputs, tensors or nodes.", "RenameOptions", "rename"),
            (
                "set-dimensions",
                "Set or free dimensions",
                "Fixes symbolic dimensions of the inputs to numbers, or frees fixed ones under a name.",
                "DimensionOptions",
                "set_dimensions",
            ),
            (
                "extract",
                "Cut out a sub-graph",
                "Keeps only what lies between the named tensors, as a model of its own.",
                "ExtractOptions",
                "extract",
            ),
            (
                "drop-outputs",
                "Drop outputs",
                "Removes outputs and every node that only they needed.",
                "DropOptions",
                "drop_outputs",
            ),
            (
                "convert-opset",
                "Convert opset",
                "Rewrites the model for another opset.",
                "OpsetOptions",
                "convert_opset",
            ),
        )
    ),
)


class _Registry:
    def __init__(self) -> None:
        self.specs: dict[str, PassSpec] = {}
        for built_in in BUILT_IN:
            self.add(built_in)
        for entry in entry_points(group=PLUGIN_GROUP):
            self._add_plugin(entry.name, entry.load)

    def add(self, new: PassSpec) -> None:
        if new.id in self.specs:
            raise ValueError(f"two passes are called {new.id!r}")
        self.specs[new.id] = new

    def _add_plugin(self, name: str, load: Callable[[], Any]) -> None:
        try:
            for plugin_spec in getattr(load(), "PASSES", ()):
                self.add(plugin_spec)
        except Exception as error:  # noqa: BLE001 - code of third parties must not take the catalog down
            reason = f"the plug-in `{name}` cannot be loaded: {error}"
            self.specs[f"plugin:{name}"] = PassSpec(name, name, reason, "", {}, problem=reason)


@cache
def _registry() -> _Registry:
    return _Registry()


def register(new: PassSpec) -> None:
    """Add a pass; plug-ins come in through the same door as the built-ins. Raises ValueError on a taken id."""
    _registry().add(new)


def specs() -> tuple[PassSpec, ...]:
    """Every known pass, available or not, in the order of the catalog."""
    return tuple(_registry().specs.values())


def spec(pass_id: str) -> PassSpec:
    """The pass called `pass_id`; raises RecipeError with the nearest name."""
    found = _registry().specs.get(pass_id)
    if found is None:
        known = [each.id for each in specs()]
        near = difflib.get_close_matches(pass_id, known, n=1)
        raise RecipeError(
            f"There is no pass `{pass_id}`.",
            hint=(f"Did you mean `{near[0]}`? " if near else "") + f"Passes: {', '.join(known)}.",
        )
    return found


def reason_unavailable(which: PassSpec, model_format: str | None = None) -> str:
    """Why `which` cannot run here ("" = it can), for one format or, with None, for all that it takes."""
    if which.problem:
        return which.problem
    if model_format is not None and model_format not in which.runs:
        return f"takes {format_titles(which.takes)} models, not {format_title(model_format)}"
    formats = which.takes if model_format is None else (model_format,)
    reasons = [_missing(which.needs.get(each, ())) for each in formats]
    return reasons[0] if all(reasons) and reasons else ""


def options_model(which: PassSpec) -> type[BaseModel]:
    """The pydantic model of the pass's options; imports no machine-learning library."""
    return cast("type[BaseModel]", _imported(which.options))


def runner(which: PassSpec, model_format: str) -> PassFunction:
    """The function that runs `which` on `model_format`; raises RefusedError with the reason where it cannot."""
    reason = reason_unavailable(which, model_format)
    if reason:
        raise RefusedError(f"“{which.title}” {reason}.", code="pass-unavailable")
    return cast("PassFunction", _imported(which.runs[model_format]))


def describe(which: PassSpec) -> dict[str, Any]:
    """JSON-able row of `edgestudio recipes`: id, title, whether it is available and why not, options."""
    reason = reason_unavailable(which)
    return {
        "id": which.id,
        "title": which.title,
        "description": which.description,
        "formats": list(which.takes),
        "needs_data": which.needs_data,
        "available": not reason,
        "reason": reason or None,
        "options": options_model(which).model_json_schema().get("properties", {}) if which.options else {},
    }


def _missing(needs: tuple[Need, ...]) -> str:
    for need in needs:
        if find_spec(need.module) is None:
            if need.extra:
                return f"needs {need.module}: install the extra `{need.extra}`"
            return f"needs {need.module}, which this installation lacks: install EdgeStudio again"
    return ""


def _imported(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
