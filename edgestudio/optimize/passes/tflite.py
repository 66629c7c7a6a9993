"""The TFLite side of the quantising passes: file to file through ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edgestudio.optimize.passes import fp16 as fp16_pass
from edgestudio.optimize.passes import int8_dynamic as dynamic_pass
from edgestudio.optimize.passes import int8_static as static_pass
from edgestudio.optimize.passes import weight_only as weights_pass
from edgestudio.optimize.passes.onnx_file import first_line, quiet
from edgestudio.optimize.step import Feeds, StepContext, StepReport
from edgestudio.wire.errors import ModelError, RecipeError, RefusedError

_DEFAULT_SIGNATURE = "serving_default"
_CHUNK_SAMPLES = 32


def fp16(source: Path, target: Path, options: fp16_pass.Options, context: StepContext) -> StepReport:
    """Store the weights of `source` in half precision; the delegate decides how it computes."""

    def add(manager: Any, names: Any) -> None:
        from ai_edge_quantizer import qtyping

        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        manager.update_quantization_recipe(".*", "*", config, names.FLOAT_CASTING)

    return _run(source, target, add, context, notes=_ignored(options, ()))


def int8_dynamic(
    source: Path, target: Path, options: dynamic_pass.Options, context: StepContext
) -> StepReport:
    """8-bit weights, activations quantised while running."""

    def add(manager: Any, names: Any) -> None:
        manager.add_dynamic_config(
            ".*", "*", num_bits=8, granularity=_granularity(options.per_channel),
            algorithm_key=names.MIN_MAX_UNIFORM_QUANT,
        )  # fmt: skip

    return _run(source, target, add, context, notes=_ignored(options, ("per_channel",)))


def weight_only(
    source: Path, target: Path, options: weights_pass.Options, context: StepContext
) -> StepReport:
    """8- or 4-bit weights, float arithmetic."""

    def add(manager: Any, names: Any) -> None:
        # With sixteen levels it pays to clip outliers where the error is least.
        algorithm = names.OCTAV if options.bits == 4 else names.MIN_MAX_UNIFORM_QUANT
        manager.add_weight_only_config(".*", "*", num_bits=options.bits, algorithm_key=algorithm)

    return _run(source, target, add, context, notes=_ignored(options, ("bits",)))


def int8_static(source: Path, target: Path, options: static_pass.Options, context: StepContext) -> StepReport:
    """8-bit weights and activations with ranges from calibration data; raises RecipeError without data."""
    samples = context.calibration
    if samples is None or len(samples) == 0:
        raise RecipeError(
            "INT8 static needs calibration data: some hundred typical inputs, labels are not needed.",
            hint="Give `--data` a folder of images, an .npz with `x`, or a folder of tensors.",
            code="needs-data",
        )
    count = min(options.samples, len(samples))

    def add(manager: Any, names: Any) -> None:
        manager.add_static_config(
            ".*", "*", activation_num_bits=8, weight_num_bits=8,
            weight_granularity=_granularity(options.per_channel), algorithm_key=names.MIN_MAX_UNIFORM_QUANT,
        )  # fmt: skip

    notes = (f"signed activations, ranges by minmax over {count} samples",)
    return _run(
        source, target, add, context, feeds=samples.feeds(0, count),
        notes=notes + _ignored(options, ("per_channel", "samples", "target")),
    )  # fmt: skip


def _run(
    source: Path,
    target: Path,
    add: Callable[[Any, Any], None],
    context: StepContext,
    *,
    feeds: Iterator[Feeds] | None = None,
    notes: tuple[str, ...] = (),
) -> StepReport:
    from ai_edge_quantizer import algorithm_manager, quantizer

    before = float_buffers(source)
    if not before:
        raise RefusedError(
            "There is nothing to shrink in this model: its weights are quantised already, or it has none.",
            code="nothing-to-do",
        )
    try:
        with _quiet():
            if feeds is not None:
                source = _signed(source, context.work)
            engine = quantizer.Quantizer(str(source))
            add(engine, algorithm_manager.AlgorithmName)
            ranges = None
            if feeds is not None:
                ranges = _calibrated(engine, source, feeds, context)
            result = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
            content = bytes(result.quantized_model)
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RefusedError(
            f"ai-edge-quantizer could not quantise this model: {first_line(error)}",
            hint="Models with custom operators, several subgraphs or dynamic shapes are often not supported.",
            code="quantise",
            details=str(error),
        ) from error
    target.write_bytes(content)
    after = float_buffers(target)
    changed = max(0, len(before) - len(after))
    remarks = (f"0 of {len(before)} weights changed",) if changed == 0 else ()
    return StepReport(changed, len(before), notes=notes, warnings=remarks)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library prints and warns of what it does on purpose."""
    # Its progress bars would start a thread that stays.
    importlib.import_module("tqdm").tqdm.monitor_interval = 0
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def float_buffers(path: Path) -> list[str]:
    """Names of the constant float32 tensors of a TFLite file that are weights: two axes or more, 32 elements."""
    import numpy as np
    from ai_edge_litert.tools import flatbuffer_utils

    from edgestudio.optimize.passes.onnx_file import MIN_WEIGHT_ELEMENTS

    try:
        model = flatbuffer_utils.read_model(str(path))
    except Exception as error:
        raise ModelError(f"{path.name} cannot be read as TFLite: {first_line(error)}") from error
    names = []
    for graph in model.subgraphs or []:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data if tensor.buffer < len(model.buffers) else None
            shape = [] if tensor.shape is None else list(tensor.shape)
            is_large = len(shape) > 1 and int(np.prod(shape)) >= MIN_WEIGHT_ELEMENTS
            if tensor.type == 0 and data is not None and len(data) and is_large:
                names.append((tensor.name or b"").decode(errors="replace"))
    return names


def _calibrated(engine: Any, source: Path, feeds: Iterator[Feeds], context: StepContext) -> Any:
    """Ranges of all activations, taken chunk by chunk because the library keeps a list of what it is given."""
    key, names = _signature(source)
    ranges: Any = None
    stream, done = _by_signature(feeds, names), 0
    while chunk := list(islice(stream, _CHUNK_SAMPLES)):
        ranges = engine.calibrate(
            {key: chunk}, previous_calibration_result=ranges, num_threads=context.threads
        )
        done += len(chunk)
        context.progress.log(f"calibrated on {done} samples")
    return ranges


def _signed(path: Path, work: Path) -> Path:
    """The file itself where it has a signature, else a copy with one: calibration runs by signature only."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    if model.signatureDefs:
        return path
    graph = model.subgraphs[0]

    def named(indices: Any) -> list[Any]:
        entries = []
        for index in indices:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = graph.tensors[index].name, int(index)
            entries.append(entry)
        return entries

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _DEFAULT_SIGNATURE, 0
    signature.inputs, signature.outputs = named(graph.inputs), named(graph.outputs)
    model.signatureDefs = [signature]
    copy = work / "signed.tflite"
    flatbuffer_utils.write_model(model, str(copy))
    return copy


def _signature(path: Path) -> tuple[str, dict[str, str]]:
    """The first signature's key, and its input names with the tensors' own."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    key = next(iter(interpreter.get_signature_list()))
    details = interpreter.get_signature_runner(key).get_input_details()
    return key, {name: str(detail["name"]) for name, detail in details.items()}


def _by_signature(feeds: Iterator[Feeds], names: dict[str, str]) -> Iterator[Feeds]:
    """Feeds under the signature's names, whichever of a tensor's names they came under."""
    for feed in feeds:
        in_order = list(feed.values())
        yield {
            name: feed.get(name, feed.get(tensor, in_order[place]))
            for place, (name, tensor) in enumerate(names.items())
        }


def _granularity(per_channel: bool) -> Any:  # noqa: FBT001 - one flag, private
    from ai_edge_quantizer import qtyping

    return qtyping.QuantGranularity.CHANNELWISE if per_channel else qtyping.QuantGranularity.TENSORWISE


def _ignored(options: BaseModel, used: tuple[str, ...]) -> tuple[str, ...]:
    """A note on the options that were set and mean nothing for TFLite files."""
    fields = type(options).model_fields
    ignored = [
        name for name, field in fields.items() if name not in used and getattr(options, name) != field.default
    ]
    return (f"not used for TFLite files: {', '.join(ignored)}",) if ignored else ()
