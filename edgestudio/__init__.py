"""EdgeStudio: drop a model on a board, and see it run there, better and safely."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers unless this stands before it is loaded, and every process of ours begins
# here. Nothing leaves a desk or a board that its owner did not send.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
