"""The pipeline: how raw input becomes the model's input and its output a result, on desk and board alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import Field

from edgestudio.runtime.backend import Array, Session, TensorSpec
from edgestudio.runtime.cache import OutputCache
from edgestudio.runtime.documents import Document, read_yaml, validated
from edgestudio.runtime.postprocess import (
    ClassifyOutput,
    Detection,
    Interpreter,
    OutputDocument,
    Ranked,
    RawOutput,
)
from edgestudio.runtime.preprocess import (
    ConstantInput,
    ImageInput,
    InputDocument,
    Preparer,
    StateInput,
    TensorInput,
)
from edgestudio.runtime.sources import FolderSource, RawLayout
from edgestudio.wire.errors import InputError, RecipeError

SCHEMA_VERSION = 1
_IMAGE_CHANNELS = (1, 3)


class QueuePolicy(Document):
    """What happens to items that arrive faster than the model answers."""

    size: int = Field(4, ge=1, le=10_000, description="Items that may wait.")
    when_full: Literal["drop-oldest", "drop-newest", "block"] = Field(
        "drop-oldest", description="Which item gives way when the queue is full; block makes the source wait."
    )
    deadline_ms: float | None = Field(
        None, gt=0, le=3_600_000, description="Items older than this are dropped instead of answered late."
    )


class CachePolicy(Document):
    """Answers for identical inputs without running the model again."""

    entries: int = Field(
        0, ge=0, le=100_000, description="How many results are kept; 0 switches the cache off."
    )


class Pipeline(Document):
    """A whole pipeline document."""

    schema_version: Literal[1] = Field(1, description="Version of this document's form.")
    name: str = Field("", max_length=200, description="What people call it.")
    source: FolderSource | None = Field(
        None, description="Where a board takes its items from; none: from requests alone."
    )
    preprocess: Annotated[list[InputDocument], Field(max_length=64)] = Field(
        [], description="How each of the model's inputs is made; left out: tensors as they come."
    )
    postprocess: OutputDocument = Field(
        default_factory=ClassifyOutput,
        description="What the model's outputs mean: classes, boxes or raw numbers.",
    )
    queue: QueuePolicy = Field(
        default_factory=QueuePolicy, description="Waiting items, their limit and deadline."
    )
    cache: CachePolicy = Field(default_factory=CachePolicy, description="Results for identical inputs.")

    @classmethod
    def default_for(
        cls, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], sample: Any = None
    ) -> Pipeline:
        """The pipeline that a model's inputs and outputs suggest.

        One input that has the shape of an image takes images (0..255 to 0..1, or for 8-bit quantised inputs
        pixel for integer); anything else takes tensors as they are. A `sample` of reals that already has the
        model's shape is taken for prepared. An output [batch, classes] is classified, others stay raw.
        """
        documents: list[Any] = []
        for spec in inputs:
            image = (
                _image_default(spec, sample) if len(inputs) == 1 and not _is_prepared(sample, spec) else None
            )
            documents.append(image or TensorInput(kind="tensor", input=spec.name))
        classes = _classes(outputs)
        post = ClassifyOutput(output=outputs[0].name) if classes and len(outputs) == 1 else RawOutput()
        return cls(preprocess=documents, postprocess=post)

    @property
    def labels(self) -> list[str]:
        """Names of the classes, empty when none were declared."""
        return [] if isinstance(self.postprocess, RawOutput) else list(self.postprocess.labels)

    def raw_layout(self, inputs: Sequence[TensorSpec]) -> RawLayout | None:
        """How a raw .bin file is to be read: by the first tensor input's document, or the model's own input."""
        document = next((entry for entry in self.preprocess if isinstance(entry, TensorInput)), None)
        named = {spec.name: spec for spec in inputs}
        spec = named.get(document.input) if document and document.input else next(iter(inputs), None)
        if spec is None:
            return None
        dtype = spec.dtype if document is None or document.raw_dtype == "model" else document.raw_dtype
        shape = tuple(document.raw_shape) if document and document.raw_shape else spec.concrete()
        return RawLayout(dtype, shape)

    def to_yaml(self) -> str:
        """The document as text that `load_pipeline` reads back."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
        )


def load_pipeline(path: Path | str) -> Pipeline:
    """Read a pipeline file; RecipeError names the field that is wrong."""
    path = Path(path)
    return parse_pipeline(read_yaml(path, "pipeline"))


def parse_pipeline(data: Any) -> Pipeline:
    """Plain data (from YAML or JSON) as a pipeline; RecipeError names the field that is wrong."""
    version = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else SCHEMA_VERSION
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecipeError(
            f"the pipeline has schema_version {version}; this EdgeStudio reads up to {SCHEMA_VERSION}",
            hint="Update EdgeStudio, or the agent on the board.",
        )
    return validated(Pipeline, data, "pipeline")


@dataclass(frozen=True)
class Result:
    """One answer. `confidence`, `margin`, `index`, `label` are None where the model classifies nothing.

    `outputs` are the model's own arrays; `stages_ms` has "pre", "infer" and "post". `is_accepted` is False
    below the pipeline's threshold, `is_finite` False when an output held NaN or infinity.
    """

    outputs: Mapping[str, Array]
    index: int | None
    label: str | None
    confidence: float | None
    margin: float | None
    top: tuple[Ranked, ...]
    detections: tuple[Detection, ...]
    stages_ms: Mapping[str, float]
    is_accepted: bool = True
    is_finite: bool = True
    is_cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form without the arrays."""
        return {
            "index": self.index,
            "label": self.label,
            "confidence": self.confidence,
            "margin": self.margin,
            "top": [{"index": r.index, "label": r.label, "confidence": r.confidence} for r in self.top],
            "detections": [
                {"box": list(d.box), "index": d.index, "label": d.label, "confidence": d.confidence}
                for d in self.detections
            ],
            "stages_ms": dict(self.stages_ms),
            "is_accepted": self.is_accepted,
            "is_finite": self.is_finite,
            "is_cached": self.is_cached,
        }


class Runner:
    """A session with its pipeline: one item in, one result out. Not thread-safe, like the session."""

    def __init__(self, session: Session, pipeline: Pipeline | None = None) -> None:
        self.session = session
        self.pipeline = pipeline or Pipeline.default_for(session.inputs, session.outputs)
        self._preparers: dict[str, Preparer] = {}
        self._constants: dict[str, Array] = {}
        self._states: dict[str, StateInput] = {}
        self._specs = {spec.name: spec for spec in session.inputs}
        self._bind()
        self._interpreter = Interpreter(self.pipeline.postprocess, session.outputs)
        self._memory = self._zeros()
        # What a model with memory answers depends on what came before: there is nothing to remember.
        entries = 0 if self._states else self.pipeline.cache.entries
        self.cache = OutputCache(entries) if entries else None

    def _bind(self) -> None:
        for document in self.pipeline.preprocess:
            name = self._input_name(document.input)
            if name in self._preparers or name in self._constants or name in self._states:
                raise RecipeError(f"the pipeline declares the input '{name}' twice")
            if isinstance(document, ConstantInput):
                self._constants[name] = _constant(document, self._specs[name])
            elif isinstance(document, StateInput):
                if document.from_output not in {spec.name for spec in self.session.outputs}:
                    raise RecipeError(
                        f"the pipeline feeds '{name}' from '{document.from_output}', no output has that name"
                    )
                self._states[name] = document
            else:
                self._preparers[name] = Preparer(document, self._specs[name])
        for name in self._specs:
            if name not in self._preparers and name not in self._constants and name not in self._states:
                self._preparers[name] = Preparer(TensorInput(kind="tensor", input=name), self._specs[name])

    def _input_name(self, declared: str | None) -> str:
        if declared is None:
            if len(self._specs) != 1:
                raise RecipeError(
                    f"the model has {len(self._specs)} inputs; the pipeline must name the one it prepares",
                    hint=f"Add `input:` with one of: {', '.join(self._specs)}.",
                )
            return next(iter(self._specs))
        if declared not in self._specs:
            known = ", ".join(self._specs) or "none"
            raise RecipeError(f"the model has no input '{declared}'", hint=f"Its inputs: {known}.")
        return declared

    def _zeros(self) -> dict[str, Array]:
        return {
            name: np.zeros(self._specs[name].concrete(), self._specs[name].dtype) for name in self._states
        }

    def reset(self) -> None:
        """Forget what state inputs carried: a new stream begins."""
        self._memory = self._zeros()

    def prepare(self, item: Any) -> dict[str, Array]:
        """The feeds of one raw item: an array, a Sound, or a mapping of input names to them."""
        feeds = dict(self._constants)
        feeds.update(self._memory)
        if isinstance(item, Mapping):
            missing = [name for name in self._preparers if name not in item]
            if missing:
                raise InputError(
                    f"the item has nothing for the model's input '{missing[0]}'", code="bad-item"
                )
            for name, preparer in self._preparers.items():
                feeds[name] = preparer.prepare(item[name])
            return feeds
        if len(self._preparers) > 1:
            raise InputError(
                f"the model takes {len(self._preparers)} inputs; the item is a single one",
                hint=f"Give a mapping with: {', '.join(self._preparers)}.",
                code="bad-item",
            )
        for name, preparer in self._preparers.items():
            feeds[name] = preparer.prepare(item)
        return feeds

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model; state inputs keep what their outputs said."""
        outputs = self.session.run(feeds)
        for name, document in self._states.items():
            self._memory[name] = outputs[document.from_output]
        return outputs

    def process(self, item: Any) -> Result:
        """Prepare, infer, interpret; InputError for an item that does not fit, ModelError when the model fails."""
        started = perf_counter()
        feeds = self.prepare(item)
        prepared = perf_counter()
        return self.process_feeds(feeds, pre_ms=(prepared - started) * 1000)

    def process_feeds(self, feeds: Mapping[str, Array], *, pre_ms: float = 0.0) -> Result:
        """Infer and interpret feeds that are prepared already."""
        started = perf_counter()
        outputs, is_cached = self._answered(feeds)
        inferred = perf_counter()
        meaning = self._interpreter.interpret(outputs)
        best: Any = meaning.top[0] if meaning.top else None
        if best is None and meaning.detections:
            best = meaning.detections[0]
        threshold = getattr(self.pipeline.postprocess, "threshold", 0.0)
        return Result(
            outputs=outputs,
            index=best.index if best else None,
            label=best.label if best else None,
            confidence=best.confidence if best else None,
            margin=meaning.margin,
            top=meaning.top,
            detections=meaning.detections,
            stages_ms={
                "pre": pre_ms,
                "infer": (inferred - started) * 1000,
                "post": (perf_counter() - inferred) * 1000,
            },
            is_accepted=meaning.is_finite and (best is None or best.confidence >= threshold),
            is_finite=meaning.is_finite,
            is_cached=is_cached,
        )

    def _answered(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], bool]:
        """(outputs, whether they were remembered)."""
        if self.cache is None:
            return self.infer(feeds), False
        key = self.cache.key(feeds)
        known = self.cache.get(key)
        if known is not None:
            return dict(known), True
        outputs = self.infer(feeds)
        self.cache.put(key, outputs)
        return outputs, False


def _constant(document: ConstantInput, spec: TensorSpec) -> Array:
    try:
        value = np.asarray(document.value, dtype=spec.dtype)
    except (TypeError, ValueError, OverflowError):
        raise RecipeError(f"the constant for '{spec.name}' is no {spec.dtype}") from None
    shape = spec.concrete()
    if value.size != int(np.prod(shape)):
        raise RecipeError(
            f"the constant for '{spec.name}' has {value.size} numbers; the input takes {list(shape)}"
        )
    return value.reshape(shape)


def _is_prepared(sample: Any, spec: TensorSpec) -> bool:
    array = np.asarray(sample) if sample is not None and not isinstance(sample, Mapping) else None
    if array is None or array.dtype.kind != "f":
        return False
    shape = spec.concrete()
    return array.shape in (shape, shape[1:])


def _image_default(spec: TensorSpec, sample: Any) -> ImageInput | None:
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
    scale, mean = 1 / 255, 0.0
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


def _classes(outputs: Sequence[TensorSpec]) -> int | None:
    if not outputs:
        return None
    sizes = [size for size in outputs[0].shape[1:] if size != 1]
    plain = len(outputs[0].shape) in (2, 4) and len(sizes) == 1 and outputs[0].dtype not in ("string", "bool")
    return sizes[0] if plain and isinstance(sizes[0], int) and sizes[0] >= 2 else None
