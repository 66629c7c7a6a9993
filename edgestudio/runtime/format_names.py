"""What the formats of models are called wherever people read of them; programs know them by short names."""

from __future__ import annotations

from collections.abc import Iterable

TITLES = {
    "onnx": "ONNX", "tflite": "TFLite", "coreml": "Core ML", "keras": "Keras", "savedmodel": "SavedModel",
    "graphdef": "TensorFlow GraphDef", "metagraph": "TensorFlow MetaGraphDef",
    "torchscript": "TorchScript", "torch-export": "torch.export", "safetensors": "safetensors",
    "state-dict": "PyTorch state dict", "openvino": "OpenVINO IR", "tensorrt": "TensorRT engine",
    "graph-part": "EdgeStudio graph",
}  # fmt: skip


def format_title(name: str) -> str:
    """A format's own spelling, as its makers write it; one that is not known here is left as it is."""
    return TITLES.get(name, name)


def format_titles(names: Iterable[str], word: str = "or") -> str:
    """Several formats in one phrase: `ONNX, TFLite or Core ML`."""
    *first, last = map(format_title, names)
    return f"{', '.join(first)} {word} {last}" if first else last
