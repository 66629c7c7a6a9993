"""Turns a model's outputs into classes or detections, as declared in a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edgestudio.runtime.backend import Array, TensorSpec
from edgestudio.runtime.documents import Document
from edgestudio.runtime.pipeline.preprocess import Name, dequantized
from edgestudio.wire.errors import ModelError, RecipeError

MAX_LABELS = 100_000
MAX_CANDIDATES = 4096
Labels = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=MAX_LABELS)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Reals = npt.NDArray[np.float64]


class ClassifyOutput(Document):
    """Scores of classes: activation, top-k, threshold, labels."""

    kind: Literal["classify"] = Field("classify", description="One score per class.")
    output: Name | None = Field(None, description="The model's output; left out: its first.")
    activation: Literal["auto", "none", "softmax", "sigmoid"] = Field(
        "auto",
        description="What makes scores confidences; auto: softmax, unless they are probabilities already.",
    )
    top_k: int = Field(5, ge=1, le=1000, description="How many of the best classes a result lists.")
    threshold: Fraction = Field(0.0, description="Below this confidence a result counts as undecided.")
    labels: Labels = Field([], description="Names of the classes, in the order of the output.")


class DetectOutput(Document):
    """Boxes with scores: threshold, non-maximum suppression, labels."""

    kind: Literal["detect"] = Field(description="Boxes, each with scores of classes.")
    boxes: Name = Field(description="Output with boxes [1, n, 4]; may be the same as `scores`.")
    scores: Name = Field(description="Output with scores [1, n, classes].")
    box_columns: int = Field(
        0, ge=0, description="Where the four box numbers start, when both are one output."
    )
    score_columns: int = Field(0, ge=0, description="Where the class scores start, when both are one output.")
    objectness_column: int | None = Field(
        None, ge=0, description="Column that multiplies all scores, if any."
    )
    is_transposed: bool = Field(False, description="Outputs are [1, columns, n] instead of [1, n, columns].")
    box_format: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = Field(
        "xyxy", description="Corners, or corner and size, or centre and size."
    )
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "none", description="What makes scores confidences."
    )
    background: int | None = Field(
        None, ge=0, description="The class that stands for nothing, if there is one."
    )
    threshold: Fraction = Field(0.5, description="Boxes below this confidence are dropped.")
    iou_threshold: Fraction = Field(
        0.5, description="Of boxes that overlap more than this, the best one stays."
    )
    max_detections: int = Field(
        100, ge=1, le=MAX_CANDIDATES, description="At most this many boxes are reported."
    )
    labels: Labels = Field([], description="Names of the classes, in the order of the scores.")


class RawOutput(Document):
    """Outputs as they are: regressions, embeddings, anything that is no class."""

    kind: Literal["raw"] = Field("raw", description="Numbers as they are; there is no confidence.")


OutputDocument = Annotated[ClassifyOutput | DetectOutput | RawOutput, Field(discriminator="kind")]


@dataclass(frozen=True)
class Ranked:
    """One class of a result."""

    index: int
    label: str
    confidence: float


@dataclass(frozen=True)
class Detection:
    """One box: corners (x1, y1, x2, y2) in the units of the model's output."""

    box: tuple[float, float, float, float]
    index: int
    label: str
    confidence: float


@dataclass(frozen=True)
class Interpretation:
    """What the outputs mean; empty `top` where the model classifies nothing. `is_finite` is False for NaN or inf."""

    top: tuple[Ranked, ...] = ()
    detections: tuple[Detection, ...] = ()
    margin: float | None = None
    is_finite: bool = True


class Interpreter:
    """An output document bound to the model's outputs."""

    def __init__(
        self, document: ClassifyOutput | DetectOutput | RawOutput, outputs: Sequence[TensorSpec]
    ) -> None:
        self.document = document
        self._specs = {spec.name: spec for spec in outputs}
        if not outputs and not isinstance(document, RawOutput):
            raise RecipeError("the model has no outputs to classify")
        wanted: list[str] = []
        if isinstance(document, ClassifyOutput):
            self._output = document.output or outputs[0].name
            wanted = [self._output]
            if document.activation == "auto" and is_one_score(self._specs.get(self._output)):
                raise RecipeError(
                    f"the output '{self._output}' is one score for yes or no, and nothing says on which scale",
                    hint="Set `activation: sigmoid` where it is a logit, `none` where it is a probability already.",
                )
        elif isinstance(document, DetectOutput):
            wanted = [document.boxes, document.scores]
        for name in wanted:
            if name not in self._specs:
                known = ", ".join(self._specs)
                raise RecipeError(f"the model has no output '{name}'", hint=f"Its outputs: {known}.")

    def interpret(self, outputs: Mapping[str, Array]) -> Interpretation:
        """Classes or detections of the first item of the batch."""
        document = self.document
        if isinstance(document, RawOutput):
            finite = all(np.isfinite(value).all() for value in outputs.values() if value.dtype.kind == "f")
            return Interpretation(is_finite=finite)
        if isinstance(document, ClassifyOutput):
            return self._classified(document, self._reals(outputs, self._output))
        return self._detected(document, outputs)

    def _reals(self, outputs: Mapping[str, Array], name: str) -> Reals:
        values = outputs[name]
        if values.dtype.kind not in "fiub" or values.size == 0:
            raise ModelError(f"the output '{name}' holds no numbers to classify", code="bad-output")
        return dequantized(values, self._specs[name].quantization).astype(np.float64)

    def _classified(self, document: ClassifyOutput, values: Reals) -> Interpretation:
        batch = values.shape[0] if values.ndim > 1 else 1
        scores = values.reshape(batch, -1)[0] if batch else values.ravel()
        if not np.isfinite(scores).all():
            return Interpretation(is_finite=False)
        confidences = _activated(scores, document.activation)
        if len(confidences) == 1 and document.activation in ("sigmoid", "none"):
            confidences = np.array([1 - confidences[0], confidences[0]])  # one score: no and yes
        count = min(document.top_k, len(confidences))
        best = np.argsort(-confidences, kind="stable")[: max(count, 2)]
        top = tuple(
            Ranked(int(index), label_of(document.labels, int(index)), float(confidences[index]))
            for index in best[:count]
        )
        margin = float(confidences[best[0]] - confidences[best[1]]) if len(best) > 1 else None
        return Interpretation(top=top, margin=margin)

    def _detected(self, document: DetectOutput, outputs: Mapping[str, Array]) -> Interpretation:
        boxes = self._table(outputs, document.boxes, document.is_transposed)
        scores = self._table(outputs, document.scores, document.is_transposed)
        if len(boxes) != len(scores):
            raise ModelError(
                f"the model gave {len(boxes)} boxes but {len(scores)} rows of scores", code="bad-output"
            )
        if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
            return Interpretation(is_finite=False)
        weight = None if document.objectness_column is None else scores[:, document.objectness_column, None]
        boxes = boxes[:, document.box_columns : document.box_columns + 4]
        scores = scores[:, document.score_columns :]
        if boxes.shape[1] != 4 or scores.shape[1] == 0:
            raise ModelError("the declared columns lie outside the model's output", code="bad-output")
        confidences = _activated(scores, document.activation)
        if weight is not None:
            confidences = confidences * _activated(
                weight, "sigmoid" if document.activation != "none" else "none"
            )
        if document.background is not None and document.background < confidences.shape[1]:
            confidences[:, document.background] = -1
        kept = suppressed(_corners(boxes, document.box_format), confidences, document)
        return Interpretation(detections=kept)

    def _table(self, outputs: Mapping[str, Array], name: str, is_transposed: bool) -> Reals:  # noqa: FBT001
        values = self._reals(outputs, name)
        if values.ndim == 3:
            values = values[0]
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2:
            raise ModelError(f"the output '{name}' is no table of boxes", code="bad-output")
        return values.T if is_transposed else values


def is_one_score(spec: TensorSpec | None) -> bool:
    """Whether the output is a single number for each item."""
    return spec is not None and bool(spec.shape) and all(size == 1 for size in spec.shape[1:])


def label_of(labels: Sequence[str], index: int) -> str:
    """The name of class `index`, or the number itself where no name was declared."""
    return labels[index] if 0 <= index < len(labels) else str(index)


def _activated(scores: Reals, activation: str) -> Reals:
    """Confidences along the last axis; "auto" keeps what already is a distribution, within 2 %."""
    if activation == "auto":
        is_distribution = (
            scores.min() >= 0 and abs(float(scores.sum(-1).mean()) - 1) < 0.02 and scores.shape[-1] > 1
        )
        activation = "none" if is_distribution else "softmax"
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares: Reals = powers / powers.sum(axis=-1, keepdims=True)
        return shares
    if activation == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)), np.float64)  # without overflow either way
    return scores.copy()


def _corners(boxes: Reals, box_format: str) -> Reals:
    a, b, c, d = boxes.T
    if box_format == "yxyx":
        return np.stack([b, a, d, c], axis=1)
    if box_format == "xywh":
        return np.stack([a, b, a + c, b + d], axis=1)
    if box_format == "cxcywh":
        return np.stack([a - c / 2, b - d / 2, a + c / 2, b + d / 2], axis=1)
    return boxes


def suppressed(corners: Reals, confidences: Reals, document: DetectOutput) -> tuple[Detection, ...]:
    """Non-maximum suppression per class: the best box stays, others that overlap it too much go."""
    index = confidences.argmax(axis=1)
    best = confidences[np.arange(len(confidences)), index]
    order = np.argsort(-best, kind="stable")
    order = order[best[order] >= max(document.threshold, 0.0)][:MAX_CANDIDATES]
    kept: list[int] = []
    while len(order) and len(kept) < document.max_detections:
        first, order = int(order[0]), order[1:]
        kept.append(first)
        overlapping = _iou(corners[first], corners[order]) > document.iou_threshold
        order = order[~(overlapping & (index[order] == index[first]))]
    return tuple(
        Detection(
            (float(corners[i, 0]), float(corners[i, 1]), float(corners[i, 2]), float(corners[i, 3])),
            int(index[i]),
            label_of(document.labels, int(index[i])),
            float(best[i]),
        )
        for i in kept
    )


def _iou(box: Reals, others: Reals) -> Any:
    """Intersection over union of one box with each of `others`; 0 where both are empty."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    inter = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + areas - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
