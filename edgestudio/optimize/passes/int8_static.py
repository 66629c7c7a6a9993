"""INT8 static: 8-bit weights and activations, with the ranges of activations measured on calibration data."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgestudio.optimize.passes import canonical, onnx_file
from edgestudio.optimize.passes.int8_dynamic import excluded_nodes, shorten, tidy
from edgestudio.optimize.step import X86_MACHINES, Feeds, Samples, StepContext, StepReport
from edgestudio.wire.errors import RecipeError, RefusedError

# Calibrators keep every intermediate tensor of a chunk; ranges merge from chunk to chunk.
CHUNK_SAMPLES = 8
_STATIC_OPSET = 10
_LIBRARY_ERRORS = (ValueError, RuntimeError, AssertionError, KeyError, TypeError, IndexError, AttributeError)


class Options(BaseModel):
    """Options of `int8-static`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Literal["this-computer", "x86", "arm", "tensorrt"] = Field(
        default="this-computer", description="Where the model will run; decides what `auto` means below."
    )
    activations: Literal["auto", "unsigned", "signed"] = Field(
        default="auto",
        description="Type of activations. `auto`: unsigned on x86, where signed is slow; signed on ARM and TensorRT.",
    )
    method: Literal["minmax", "entropy", "percentile"] = Field(
        default="minmax",
        description="How ranges follow from the data: the extremes, least loss of information, or all but outliers.",
    )
    percentile: float = Field(
        default=99.99, gt=50, le=100, description="Share of values inside the range, for `percentile`."
    )
    samples: int = Field(
        default=300, ge=1, le=100_000, description="At most so many samples are used for calibration."
    )
    per_channel: bool = Field(
        default=True, description="One scale per output channel of a weight: more exact."
    )
    reduce_range: bool = Field(
        default=False, description="7-bit weights: against overflow on x86 CPUs without VNNI instructions."
    )
    operators: Literal["all", "weighted"] = Field(
        default="all",
        description="`all` quantises every operator that can be; `weighted` only convolutions and matrix products.",
    )
    layout: Literal["qdq", "qoperator"] = Field(
        default="qdq",
        description="How it is written: QuantizeLinear/DequantizeLinear pairs, or the smaller quantised operators.",
    )
    exclude: tuple[str, ...] = Field(default=(), description="Names of nodes that stay in float.")


class ChunkReader:
    """Streams calibration samples chunk by chunk, as the calibrators of ONNX Runtime ask for them."""

    def __init__(self, samples: Samples, count: int, chunk: int, context: StepContext) -> None:
        self._samples, self._count, self._chunk = samples, count, chunk
        self._context = context
        self._stream: Iterator[Feeds] = iter(())
        self._chunk_left: Iterator[Feeds] = iter(())

    def __len__(self) -> int:
        """Rounded up to whole chunks; the last may be shorter."""
        return -(-self._count // self._chunk) * self._chunk

    def set_range(self, start_index: int, end_index: int) -> None:
        """Next comes the chunk from `start_index` to `end_index`."""
        stop = min(end_index, self._count)
        self._context.progress.log(f"calibrating on sample {start_index + 1} to {stop} of {self._count}")
        if start_index == 0:
            self._stream = self._samples.feeds(0, self._count)
        self._chunk_left = islice(self._stream, stop - start_index)

    def get_next(self) -> Feeds | None:
        """The next sample's inputs, None at the end of the chunk."""
        return next(self._chunk_left, None)


def activation_sign(options: Options) -> Literal["unsigned", "signed"]:
    """What `activations` comes to for the options' target."""
    if options.activations != "auto":
        return options.activations
    if options.target == "this-computer":
        return "unsigned" if platform.machine().lower() in X86_MACHINES else "signed"
    return "unsigned" if options.target == "x86" else "signed"


def run(source: Path, target: Path, options: Options, context: StepContext) -> StepReport:
    """Calibrate and quantise; raises RecipeError without data, RefusedError when the model cannot be."""
    model = onnx_file.load(source)
    before = onnx_file.require_weights(model)
    samples = context.calibration
    if samples is None or len(samples) == 0:
        raise RecipeError(
            "INT8 static needs calibration data: some hundred typical inputs, labels are not needed.",
            hint="Give `--data` a folder of images, an .npz with `x`, or a folder of tensors.",
            code="needs-data",
        )
    if onnx_file.opset(model) < _STATIC_OPSET:
        raise RefusedError(
            f"Static quantisation needs opset {_STATIC_OPSET}; this model could not be raised above "
            f"{onnx_file.opset(model)}.",
            code="opset",
        )
    if not before.keys() & {name for node in model.graph.node for name in node.input}:
        raise RefusedError(
            "All weights of this model lie in sub-graphs (If, Loop), which static quantisation does not reach.",
            hint="The pass `weight-only` shrinks them.",
            code="sub-graphs",
        )
    count = min(options.samples, len(samples))
    sign = activation_sign(options)
    exclude = excluded_nodes(model, options.exclude)
    reader = ChunkReader(samples, count, min(CHUNK_SAMPLES, count), context)
    _quantise(source, target, options, sign, exclude, reader)
    notes = [f"{sign} activations, ranges by {options.method} over {count} samples"]
    reason = canonical.loads(target)
    if reason and options.operators == "all":
        weighted = options.model_copy(update={"operators": "weighted"})
        _quantise(source, target, weighted, sign, exclude, reader)
        notes.append(f"only convolutions and matrix products: with all operators it does not load ({reason})")
    result = tidy(onnx_file.load(target))
    remaining = onnx_file.float_weights(result)
    if not len(list(onnx_file.graphs(result.graph))) > 1:
        shorten(result, model)
    onnx_file.save(result, target)
    changed = len([name for name in before if name not in remaining])
    warnings = []
    if changed == 0:
        warnings.append(
            f"0 of {len(before)} weights changed: they lie in sub-graphs or in operators that static quantisation "
            "does not cover; weight-only quantisation can shrink them"
        )
    if count < 100:
        warnings.append(f"calibrated on only {count} samples; 100 to 500 give ranges that hold")
    return StepReport(
        changed,
        len(before),
        notes=tuple(notes),
        warnings=tuple(warnings),
        figures={"calibration_samples": count, "activations": sign},
    )


def _quantise(
    source: Path, target: Path, options: Options, sign: str, exclude: list[str], reader: ChunkReader
) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    weighted = options.target == "tensorrt" or options.operators == "weighted"
    fixed: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ if options.layout == "qdq" else QuantFormat.QOperator,
        "op_types_to_quantize": ["Conv", "ConvTranspose", "Gemm", "MatMul"] if weighted else None,
        "per_channel": options.per_channel,
        "reduce_range": options.reduce_range,
        "activation_type": QuantType.QUInt8 if sign == "unsigned" else QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": exclude,
    }
    extra, method = _extra_options(options, len(reader))
    with onnx_file.quiet():
        try:
            try:
                quantize_static(
                    str(source), str(target), reader, calibrate_method=method, extra_options=extra, **fixed
                )
            except (ValueError, IndexError, TypeError):
                # Its check of bias scales trips over biases that are broadcast; the check is a refinement.
                extra["QDQDisableWeightAdjustForInt32Bias"] = True
                quantize_static(
                    str(source), str(target), reader, calibrate_method=method, extra_options=extra, **fixed
                )
        except _LIBRARY_ERRORS as error:
            raise RefusedError(
                f"ONNX Runtime could not quantise this model: {onnx_file.first_line(error)}",
                hint="Try the pass with `operators: weighted`, or exclude the nodes that it names.",
                code="quantise",
                details=str(error),
            ) from error


def _extra_options(options: Options, samples: int) -> tuple[dict[str, Any], Any]:
    from onnxruntime.quantization import CalibrationMethod

    extra: dict[str, Any] = {"CalibStridedMinMax": min(CHUNK_SAMPLES, samples), "WeightSymmetric": True}
    if options.method == "percentile":
        extra["CalibPercentile"] = options.percentile
    if options.target == "tensorrt":  # it refuses INT32 biases and zero points
        extra |= {"ActivationSymmetric": True, "QuantizeBias": False}
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    return extra, methods[options.method]
