"""Trains the sample model on scikit-learn's digits and writes everything that lies beside this file.

    python -m venv /tmp/train && /tmp/train/bin/pip install torch onnx onnxscript onnxslim scikit-learn pyyaml
    /tmp/train/bin/python resources/sample/train.py

One minute on one CPU core. Seeded: the same versions on the same kind of CPU write the same weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxslim
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent
SEED, EPOCHS, BATCH, PEAK_RATE = 20, 60, 64, 4e-3
TEST, CALIBRATION = 450, 200


class Residual(nn.Module):
    """3x3 convolutions around a shortcut; the shortcut is projected where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels_out
            else nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in, h, w) -> (n, out, h / stride, w / stride)."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class Separable(nn.Module):
    """Depthwise then pointwise convolution, as phones and microcontrollers like it."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, 1, 1, groups=channels_in, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(channels_in)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in, h, w) -> (n, out, h, w)."""
        x = functional.relu6(self.depthwise_norm(self.depthwise(x)))
        return functional.relu(self.pointwise_norm(self.pointwise(x)))


class Digits(nn.Module):
    """Logits of ten digits from an 8x8 grey image in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(32)
        self.block1 = Residual(32, 32, 1)
        self.block2 = Residual(32, 64, 2)
        self.separable1 = Separable(64, 96)
        self.block3 = Residual(96, 96, 2)
        self.separable2 = Separable(96, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(n, 1, 8, 8) -> (n, 10)."""
        x = functional.relu(self.stem_norm(self.stem(image)))
        x = self.separable1(self.block2(self.block1(x)))
        x = self.separable2(self.block3(x))
        return self.head(x.mean((2, 3)))


def split() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Disjoint, stratified parts of the 1797 images as uint8 0..255 of shape (n, 8, 8) with labels int64."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    rest, x_test, y_rest, y_test = train_test_split(
        images, labels, test_size=TEST, stratify=labels, random_state=SEED
    )
    x_train, x_calibration, y_train, y_calibration = train_test_split(
        rest, y_rest, test_size=CALIBRATION, stratify=y_rest, random_state=SEED
    )
    return {
        "train": (x_train, y_train),
        "calibration": (x_calibration, y_calibration),
        "test": (x_test, y_test),
    }


def augmented(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image a little turned, scaled, shifted, brightened and noisy: the training set is small."""
    count = len(batch)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    angle, scale = uniform(-0.2, 0.2), uniform(0.88, 1.15)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(angle) / scale
    theta[:, 0, 1], theta[:, 1, 0] = -torch.sin(angle) / scale, torch.sin(angle) / scale
    theta[:, 0, 2], theta[:, 1, 2] = uniform(-0.15, 0.15), uniform(-0.15, 0.15)
    grid = functional.affine_grid(theta, list(batch.shape), align_corners=False)
    moved = functional.grid_sample(batch, grid, align_corners=False)
    noise = torch.randn(batch.shape, generator=generator) * 0.04
    return (moved * uniform(0.85, 1.1).view(-1, 1, 1, 1) + noise).clamp(0, 1)


def as_input(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 8, 8) -> float32 (n, 1, 8, 8) in [0, 1]: what digits.pipeline.yaml declares."""
    return torch.from_numpy(images.astype(np.float32)[:, None] / 255)


def train(x: torch.Tensor, y: torch.Tensor) -> Digits:
    """AdamW with one cycle of the learning rate; never sees calibration or test images."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            loss = functional.cross_entropy(
                model(augmented(x[chosen], generator)), y[chosen], label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: Digits, path: Path) -> None:
    """ONNX opset 18 with a dynamic batch, batch normalisation folded, without stale shapes."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
        opset_version=18,
        dynamo=True,
    )
    graph = onnxslim.slim(program.model_proto)
    graph.graph.name = "digits"
    graph.producer_name, graph.producer_version = "edgestudio sample", "1"
    graph.doc_string = "Ten handwritten digits from an 8x8 grey image in [0, 1]. See README.md beside it."
    del graph.graph.value_info[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
    del graph.metadata_props[:]
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def main() -> None:
    """Train, measure on the test part, export and write the data."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    parts = split()
    x, y = parts["train"]
    model = train(as_input(x), torch.from_numpy(y))
    with torch.no_grad():
        accuracy = {
            name: float((model(as_input(images)).argmax(1).numpy() == labels).mean())
            for name, (images, labels) in parts.items()
        }
    export(model, HERE / "digits.onnx")
    for name in ("test", "calibration"):
        images, labels = parts[name]
        np.savez_compressed(HERE / f"digits_{name}.npz", x=images, y=labels)
    figures = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "images": {name: len(images) for name, (images, _) in parts.items()},
        "accuracy": {name: round(value, 4) for name, value in accuracy.items()},
        "size_bytes": (HERE / "digits.onnx").stat().st_size,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
