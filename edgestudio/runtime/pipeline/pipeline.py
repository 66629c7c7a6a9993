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
from edgestudio.runtime.documents import Document, read_yaml, validated
from edgestudio.runtime.pipeline.actions import MAX_ACTIONS, ActionDocument
from edgestudio.runtime.pipeline.cache import OutputCache
from edgestudio.runtime.pipeline.conversion import conversions
from edgestudio.runtime.pipeline.defaults import image_default, is_prepared, scores_of
from edgestudio.runtime.pipeline.fallback import FallbackStep, SecondOpinion
from edgestudio.runtime.pipeline.live import SourceDocument, is_pushed
from edgestudio.runtime.pipeline.policies import (
    BatchPolicy,
    CachePolicy,
    HealthPolicy,
    InputRules,
    QueuePolicy,
)
from edgestudio.runtime.pipeline.postprocess import (
    ClassifyOutput,
    Detection,
    Interpreter,
    OutputDocument,
    Ranked,
    RawOutput,
)
from edgestudio.runtime.pipeline.preprocess import (
    ConstantInput,
    InputDocument,
    Preparer,
    StateInput,
    TensorInput,
)
from edgestudio.runtime.pipeline.sources import RawLayout
from edgestudio.wire.errors import InputError, RecipeError

SCHEMA_VERSION = 1


class Pipeline(Document):
    """A whole pipeline document."""

    schema_version: Literal[1] = Field(1, description="Version of this document's form.")
    name: str = Field("", max_length=200, description="What people call it.")
    source: SourceDocument | None = Field(
        None, description="Where a board takes its items from; none: from requests alone."
    )
    validation: InputRules = Field(
        default_factory=InputRules, description="What a raw item must be like to be inferred at all."
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
    batch: BatchPolicy = Field(
        default_factory=BatchPolicy, description="Items that wait together and are inferred together."
    )
    cache: CachePolicy = Field(default_factory=CachePolicy, description="Results for identical inputs.")
    actions: Annotated[list[ActionDocument], Field(max_length=MAX_ACTIONS)] = Field(
        [], description="What is done with a result, each under its own condition."
    )
    fallback: Annotated[list[FallbackStep], Field(max_length=8)] = Field(
        [], description="Who answers when the model does not, in this order."
    )
    second_opinion: SecondOpinion = Field(
        default_factory=SecondOpinion, description="Whom to ask when the model is unsure or overloaded."
    )

    limits: HealthPolicy | None = Field(
        None, description="What a release of the model must keep to stay on a board; left out: the defaults."
    )

    @classmethod
    def default_for(
        cls, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], sample: Any = None
    ) -> Pipeline:
        """The pipeline that a model's inputs and outputs suggest.

        One input that has the shape of an image takes images (0..255 to 0..1, or for 8-bit quantised inputs
        pixel for integer); anything else takes tensors as they are. A `sample` of reals that already has the
        model's shape is taken for prepared. An output [batch, classes], alone or
        beside its label, is classified; others stay raw.
        """
        documents: list[Any] = []
        for spec in inputs:
            image = (
                image_default(spec, sample) if len(inputs) == 1 and not is_prepared(sample, spec) else None
            )
            documents.append(image or TensorInput(kind="tensor", input=spec.name))
        scores = scores_of(outputs)
        post = ClassifyOutput(output=scores.name) if scores else RawOutput()
        return cls(preprocess=documents, postprocess=post)

    @property
    def is_live(self) -> bool:
        """Whether the agent itself has something to do: items that come by themselves, actions, other models."""
        return bool(self.actions or self.fallback or self.second_opinion.is_on or is_pushed(self.source))

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

    def fed(self, inputs: Sequence[TensorSpec]) -> list[str]:
        """Names of the model's inputs that each item must bring: all but constants and carried states."""
        own = {entry.input for entry in self.preprocess if isinstance(entry, ConstantInput | StateInput)}
        return [spec.name for spec in inputs if spec.name not in own]

    def to_yaml(self) -> str:
        """The document as text that `load_pipeline` reads back."""
        data = self.model_dump(mode="json", exclude_none=True)
        if self.limits is not None:  # none is a value there: that limit is off
            data["limits"] = self.limits.model_dump(mode="json", exclude_unset=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


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
        self.pipeline.validation.check(item)
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

    def conversions(self, item: Any) -> list[str]:
        """What preparing this item changes besides its numbers, such as its size; the item must be one it takes."""
        each = [
            (preparer, item[name] if isinstance(item, Mapping) else item)
            for name, preparer in self._preparers.items()
        ]
        return [change for preparer, own in each for change in conversions(preparer, own)]

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
        infer_ms = (perf_counter() - started) * 1000
        return self.interpret(outputs, pre_ms=pre_ms, infer_ms=infer_ms, is_cached=is_cached)

    def interpret(
        self,
        outputs: Mapping[str, Array],
        *,
        pre_ms: float = 0.0,
        infer_ms: float = 0.0,
        is_cached: bool = False,
    ) -> Result:
        """What `outputs` mean, wherever they were computed."""
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
                "infer": infer_ms,
                "post": (perf_counter() - inferred) * 1000,
            },
            is_accepted=meaning.is_finite and (best is None or best.confidence >= threshold),
            is_finite=meaning.is_finite,
            is_cached=is_cached,
        )

    @property
    def has_memory(self) -> bool:
        """Whether an answer depends on what came before."""
        return bool(self._states)

    @property
    def constants(self) -> frozenset[str]:
        """Inputs that are the same for every item."""
        return frozenset(self._constants)

    @property
    def carried(self) -> frozenset[str]:
        """Inputs that hold what an output said before."""
        return frozenset(self._states)

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
