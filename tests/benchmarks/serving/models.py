"""The networks of the comparison: random weights, fixed seed, exported as ONNX with a card each.

"tiny" is bound by HTTP, "large" (the layout of ResNet-18, He et al. 2016) by arithmetic; "mean" does next to nothing on
rows of any length, which leaves the way there and back. Beside them lie the released models of the project.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from shared.runtime.cards import (
    CARD_FILE,
    Latency,
    ModelCard,
    Paper,
    Parity,
    TensorDescription,
    TrainingRecord,
    Weights,
)
from shared.runtime.models.sessions import OnnxModel
from shared.settings import DOMAINS

ROOT = Path(__file__).parents[3]
VERSION, FILE, OPSET, SEED = "1.0.0", "model.onnx", 17, 0


class Tiny(nn.Module):
    """Three convolutions, 5.1 million multiplications."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 10) of (batch, 3, 32, 32)."""
        return cast("Tensor", self.head(self.layers(x).mean(dim=(2, 3))))


class Block(nn.Module):
    """Two convolutions beside a shortcut; without normalisation, so the residual is scaled down."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs, height / stride, width / stride) of (batch, inputs, height, width)."""
        residual = self.second(torch.relu(self.first(x)))
        return torch.relu(0.3 * residual + self.shortcut(x))


class Large(nn.Module):
    """ResNet-18's layout at a width of 48 channels, 1042 million multiplications."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, 2, 3)
        stages, inputs = [], width
        for number in range(4):
            outputs = width * 2**number
            stages += [Block(inputs, outputs, stride=1 if number == 0 else 2), Block(outputs, outputs, stride=1)]
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, 100)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 100) of (batch, 3, 224, 224)."""
        features = self.stages(max_pool2d(torch.relu(self.stem(x)), 3, 2, 1))
        return cast("Tensor", self.head(features.mean(dim=(2, 3))))


class Mean(nn.Module):
    """The mean of each row."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1) of (batch, width)."""
        return x.mean(dim=1, keepdim=True)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network and the shape of one of its rows."""

    network: type[nn.Module]
    task: str
    row: tuple[int | str, ...]
    outputs: int

    def example(self, rows: int) -> Tensor:
        """Normally distributed input; 64 stands for a named size."""
        return torch.randn(rows, *(size if isinstance(size, int) else 64 for size in self.row))


RECIPES: Mapping[str, Recipe] = {
    "tiny": Recipe(Tiny, "Three convolutions with random weights", (3, 32, 32), 10),
    "large": Recipe(Large, "A residual network with random weights", (3, 224, 224), 100),
    "mean": Recipe(Mean, "The mean of each row", ("width",), 1),
}


def write_models(folder: Path) -> None:
    """Make `folder` what FACET_MODELS may name: the benchmark's models, and links to the released ones.

    Models that are there already are kept; seed and recipe are fixed.
    """
    for domain in DOMAINS:
        (folder / domain).mkdir(parents=True, exist_ok=True)
        for released in (ROOT / "services" / domain / "models").glob("*"):
            link = folder / domain / released.name
            if not link.exists():
                link.symlink_to(released)
    for name, recipe in RECIPES.items():
        target = folder / "perception" / name / VERSION
        if not (target / CARD_FILE).exists():
            _write(name, recipe, target)


def _write(name: str, recipe: Recipe, folder: Path) -> None:
    torch.manual_seed(SEED)
    network = recipe.network().eval()
    folder.mkdir(parents=True, exist_ok=True)
    _export(network, recipe, folder / FILE)
    content = (folder / FILE).read_bytes()
    unmeasured = Latency(what="-", value_ms=1.0, machine="-", threads=1)
    card = _card(name, recipe, content, Parity(reference="-", max_abs_difference=0.0), unmeasured)
    model = OnnxModel(card, content, threads=1)
    card = _card(name, recipe, content, _parity(network, recipe, model), _latency(recipe, model))
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _export(network: nn.Module, recipe: Recipe, file: Path) -> None:
    named = {axis + 1: size for axis, size in enumerate(recipe.row) if isinstance(size, str)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (recipe.example(2),),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch", **named}, "y": {0: "batch"}},
        )


@torch.no_grad()
def _parity(network: nn.Module, recipe: Recipe, model: OnnxModel) -> Parity:
    rows = recipe.example(4)
    difference = np.abs(network(rows).numpy() - model.run({"x": rows.numpy()})[0]).max()
    return Parity(reference=f"torch {torch.__version__}, 4 random rows", max_abs_difference=float(difference))


def _latency(recipe: Recipe, model: OnnxModel) -> Latency:
    row, times = recipe.example(1).numpy(), []
    for _ in range(10):
        began = time.perf_counter()
        model.run({"x": row})
        times.append(time.perf_counter() - began)
    return Latency(
        what="one row, onnxruntime, shortest of 10",
        value_ms=max(round(min(times) * 1000, 3), 0.001),
        machine="the machine of the benchmark",
        threads=1,
    )


def _card(name: str, recipe: Recipe, content: bytes, parity: Parity, latency: Latency) -> ModelCard:
    tensor = {"dtype": "float32", "unit": "1", "range": None}
    return ModelCard(
        name=name,
        version=VERSION,
        task=recipe.task,
        paper=Paper(title="none: made for benchmarks", authors="-", url="-"),
        licence="Apache-2.0",
        inputs=[
            TensorDescription.model_validate(
                {**tensor, "name": "x", "shape": ["batch", *recipe.row], "description": "Any numbers"}
            )
        ],
        outputs=[
            TensorDescription.model_validate(
                {**tensor, "name": "y", "shape": ["batch", recipe.outputs], "description": "Means nothing"}
            )
        ],
        weights=Weights(file=FILE, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),
        training=TrainingRecord(
            data=[],
            procedure="none: random weights",
            seed=SEED,
            machine="-",
            hours=0.0,
            command="python -m tests.benchmarks.serving --only-models",
        ),
        quality=[],
        parity=parity,
        latency=latency,
        limits=["Random weights, for benchmarks only."],
        choices=[],
    )
