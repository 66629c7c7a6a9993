"""Runs TFLite files with LiteRT's Interpreter; never CompiledModel, which crashes on truncated files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgestudio.runtime.backend import Affine, Array, Feeds, SessionOptions, TensorSpec, check_feeds
from edgestudio.wire.errors import InputError, ModelError

_DELEGATE = "DELEGATE"


def open_litert(path: Path, options: SessionOptions) -> LitertSession:
    """Load `path`; ModelError with the library's reason when it refuses."""
    return LitertSession(path, options)


class LitertSession:
    """One LiteRT `Interpreter` on the first subgraph (or the signature that covers it)."""

    backend = "litert"

    def __init__(self, path: Path, options: SessionOptions) -> None:
        if options.providers and tuple(options.providers) != ("cpu",):
            raise InputError(
                f"LiteRT has no provider '{options.providers[0]}' here", hint="Use cpu.", code="no-provider"
            )
        self._path = path
        self._options = options
        self._interpreter = self._load()
        details_in = self._interpreter.get_input_details()
        details_out = self._interpreter.get_output_details()
        names_in, names_out = self._names(details_in, details_out)
        self.inputs = tuple(_spec(name, row) for name, row in zip(names_in, details_in, strict=True))
        self.outputs = tuple(_spec(name, row) for name, row in zip(names_out, details_out, strict=True))
        self._index_in = {name: int(row["index"]) for name, row in zip(names_in, details_in, strict=True)}
        self._index_out = {name: int(row["index"]) for name, row in zip(names_out, details_out, strict=True)}
        self._shapes = {
            name: tuple(map(int, row["shape"])) for name, row in zip(names_in, details_in, strict=True)
        }

    def _load(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_path=str(self._path), num_threads=self._options.threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError, MemoryError) as error:
            raise ModelError(
                f"LiteRT cannot load {self._path.name}: {_reason(error)}",
                hint="Its operators must be built into LiteRT; custom and Edge TPU operators are not.",
                code="runtime-refused",
                details=str(error),
            ) from error
        return interpreter

    def _names(self, rows_in: list[Any], rows_out: list[Any]) -> tuple[list[str], list[str]]:
        """Signature names where a single signature covers all tensors: they are what the author chose."""
        plain_in, plain_out = _unique(rows_in), _unique(rows_out)
        signatures = self._interpreter.get_signature_list()
        if len(signatures) != 1:
            return plain_in, plain_out
        key, names = next(iter(signatures.items()))
        runner = self._interpreter.get_signature_runner(key)
        by_index_in = {int(row["index"]): name for name, row in runner.get_input_details().items()}
        by_index_out = {int(row["index"]): name for name, row in runner.get_output_details().items()}
        complete = all(int(row["index"]) in by_index_in for row in rows_in) and all(
            int(row["index"]) in by_index_out for row in rows_out
        )
        if not complete or len(set(names["inputs"])) != len(rows_in):
            return plain_in, plain_out
        return (
            [by_index_in[int(row["index"])] for row in rows_in],
            [by_index_out[int(row["index"])] for row in rows_out],
        )

    def placement(self) -> dict[str, Any]:
        """Operators by unit: XNNPACK for those that its delegate replaced, CPU for the reference kernels."""
        rows = self._interpreter._get_ops_details()
        plain = [row for row in rows if row["op_name"].upper() != _DELEGATE]
        taken: set[int] = set()
        for row in rows:
            if row["op_name"].upper() == _DELEGATE:
                taken |= _replaced(row, plain)
        nodes = {
            f"{row['op_name']}#{row['index']}": "XNNPACK" if int(row["index"]) in taken else "CPU"
            for row in plain
        }
        return {
            "counts": dict(Counter(nodes.values())),
            "nodes": nodes,
            "requested": ["CPU"],
            "source": "execution plan",
            "alarm": None,
        }

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """One inference; an input whose open sizes changed is resized first.

        Each run stands for itself: variables inside the file, such as a recurrent layer's state, start anew, so
        that the same input has the same answer. A stream's state travels as inputs and outputs (see Pipeline).
        """
        check_feeds(self.inputs, feeds)
        interpreter = self._interpreter
        if interpreter is None:
            raise ModelError(f"{self._path.name} is closed", code="closed")
        try:
            resized = False
            for name, index in self._index_in.items():
                shape = feeds[name].shape
                if shape != self._shapes[name]:
                    interpreter.resize_tensor_input(index, list(shape), strict=True)
                    self._shapes[name] = shape
                    resized = True
            if resized:
                interpreter.allocate_tensors()
            for name, index in self._index_in.items():
                interpreter.set_tensor(index, feeds[name])
            interpreter.reset_all_variables()
            interpreter.invoke()
            return {name: interpreter.get_tensor(index) for name, index in self._index_out.items()}
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"LiteRT failed while running {self._path.name}: {_reason(error)}",
                code="run-failed",
                details=str(error),
            ) from error

    def profile(self, feeds: Feeds, runs: int) -> list[dict[str, Any]]:
        """LiteRT's Python interface measures no single operators: empty."""
        check_feeds(self.inputs, feeds)
        return []

    def close(self) -> None:
        """Release the model."""
        self._interpreter = None


def _replaced(delegate: Any, plain: list[Any]) -> set[int]:
    """Indices of the operators between a delegate's inputs and its outputs, which it runs in their place."""
    producer = {int(tensor): row for row in plain for tensor in row["outputs"]}
    given = {int(tensor) for tensor in delegate["inputs"]}
    pending = [int(tensor) for tensor in delegate["outputs"]]
    found: set[int] = set()
    while pending:
        tensor = pending.pop()
        row = producer.get(tensor)
        if tensor in given or row is None or int(row["index"]) in found:
            continue
        found.add(int(row["index"]))
        pending.extend(int(source) for source in row["inputs"])
    return found


def _unique(rows: list[Any]) -> list[str]:
    names: list[str] = []
    for position, row in enumerate(rows):
        name = str(row["name"]) or f"tensor_{position}"
        names.append(name if name not in names else f"{name}#{position}")
    return names


def _spec(name: str, row: Any) -> TensorSpec:
    signature = row.get("shape_signature")
    sizes = row["shape"] if signature is None or not len(signature) else signature
    dtype = np.dtype(row["dtype"])
    quantization = None
    parameters = row.get("quantization_parameters") or {}
    scales, zero_points = parameters.get("scales", ()), parameters.get("zero_points", ())
    if len(scales) == 1 and float(scales[0]) > 0 and dtype.kind in "iu":
        quantization = Affine(float(scales[0]), int(zero_points[0]) if len(zero_points) else 0)
    return TensorSpec(
        name,
        "string" if dtype.kind in "SO" else dtype.name,
        tuple(int(size) if size >= 0 else None for size in sizes),
        quantization,
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
