"""Crops of stained blood with boxes of what they show, and a small classifier of them: where relevance ought to lie.

A crop holds a white cell as a whole, or no white cell but a platelet, or red cells only. The classifier has maximum
pooling, which the traffic-sign network has not.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

FOLDER, SIDE = "blood-cells", 64
CLASSES = ("white cell", "platelet", "red cells only")
MODEL = Path(__file__).parent / "checkpoints" / "blood-cells.onnx"
"""The trained classifier, for `make evaluate-explanations` only."""

_WHITE, _PLATELET = 1, 3
_SIDES = (180, 340)
_TRIES = 60
_EPOCHS, _BATCH, _RATE = 14, 32, 2e-3

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crops:
    """Crops with what they show and where.

    Attributes:
        pictures: float32 RGB in [0, 1], (count, 3, 64, 64).
        classes: index into CLASSES, int64 (count,).
        masks: inside of the boxes of that class, bool (count, 64, 64); all true for red cells only.
    """

    pictures: NDArray[np.float32]
    classes: NDArray[np.int64]
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.classes)


def read_crops(folder: Path, split: str, *, seed: int, each: int = 2) -> Crops:
    """Up to `each` crops of every class from every picture of a split (train, val, test).

    Raises:
        FileNotFoundError: the data is not there.
    """
    record = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for item in record["annotations"]:
        boxes[item["image_id"]].append([item["category_id"], *item["bbox"]])
    random = np.random.default_rng(seed)
    found = []
    for item in record["images"]:
        with Image.open(folder / "images" / item["file_name"], formats=["JPEG"]) as image:
            found += _crops(image.convert("RGB"), np.array(boxes[item["id"]]), random, each)
    pictures, classes, masks = zip(*found, strict=True)
    return Crops(np.stack(pictures), np.array(classes, np.int64), np.stack(masks))


def _crops(image: Image.Image, boxes: Boxes, random: np.random.Generator, each: int) -> list[tuple[Any, int, Any]]:
    wanted, found = [each] * len(CLASSES), []
    for _ in range(_TRIES):
        side = float(random.uniform(*_SIDES))
        left, top = random.uniform(0, image.width - side), random.uniform(0, image.height - side)
        shares = _shares_inside(boxes, left, top, side)
        label = _label(boxes[:, 0], shares)
        if label is None or not wanted[label]:
            continue
        wanted[label] -= 1
        crop = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
        pixels = np.asarray(crop, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
        kind = {0: _WHITE, 1: _PLATELET}.get(label)
        mask = np.ones((SIDE, SIDE), bool) if kind is None else _mask(boxes[boxes[:, 0] == kind], left, top, side)
        found.append((pixels, label, mask))
    return found


def _shares_inside(boxes: Boxes, left: float, top: float, side: float) -> NDArray[np.float64]:
    x, y, width, height = boxes[:, 1:].T
    across = np.clip(np.minimum(x + width, left + side) - np.maximum(x, left), 0, None)
    down = np.clip(np.minimum(y + height, top + side) - np.maximum(y, top), 0, None)
    shares: NDArray[np.float64] = across * down / (width * height)
    return shares


def _label(kinds: NDArray[np.float64], shares: NDArray[np.float64]) -> int | None:
    """What a crop shows; None where that is not clear."""
    white, platelets = shares[kinds == _WHITE], shares[kinds == _PLATELET]
    if (white > 0.95).any():
        return 0
    if (white > 0.02).any():
        return None
    if (platelets > 0.95).any():
        return 1
    return None if (platelets > 0.02).any() else 2


def _mask(boxes: Boxes, left: float, top: float, side: float) -> NDArray[np.bool_]:
    mask, scale = np.zeros((SIDE, SIDE), bool), SIDE / side
    for _, x, y, width, height in boxes:
        first_row, last_row = np.clip([(y - top) * scale, (y + height - top) * scale], 0, SIDE)
        first_column, last_column = np.clip([(x - left) * scale, (x + width - left) * scale], 0, SIDE)
        mask[int(first_row) : int(np.ceil(last_row)), int(first_column) : int(np.ceil(last_column))] = True
    return mask


class SmallNetwork(nn.Module):
    """Seven convolutions, two maximum poolings, global average pooling."""

    def __init__(self) -> None:
        super().__init__()
        plan: list[nn.Module] = []
        channels = 3
        for outputs, stride, pool in (
            (24, 1, False), (32, 2, False), (48, 1, True), (64, 1, False),
            (96, 1, True), (96, 1, False), (128, 1, False),
        ):  # fmt: skip
            if pool:
                plan.append(nn.MaxPool2d(2))
            plan += [nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False)]
            plan += [nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        self.features = nn.Sequential(*plan)
        self.head = nn.Linear(channels, len(CLASSES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (batch, 3) of RGB pictures (batch, 3, 64, 64), float32 in [0, 1]."""
        features: Tensor = self.features((pictures - 0.7) / 0.2)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def train(folder: Path, *, seed: int = 0) -> float:
    """Train and export the classifier; minutes on two cores. Returns its accuracy on crops of the validation split."""
    torch.manual_seed(seed)
    crops, network = read_crops(folder, "train", seed=seed, each=3), SmallNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
    steps = len(crops) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_EPOCHS * steps)
    random = np.random.default_rng(seed)
    network.train()
    for epoch in range(_EPOCHS):
        order = random.permutation(len(crops))
        for start in tqdm(range(0, steps * _BATCH, _BATCH), desc=f"epoch {epoch + 1}"):
            chosen = order[start : start + _BATCH]
            loss = functional.cross_entropy(
                network(_augmented(crops.pictures[chosen], random)), torch.from_numpy(crops.classes[chosen])
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    _export(network.eval())
    validation = read_crops(folder, "val", seed=seed)
    with torch.no_grad():
        predicted = network(torch.from_numpy(validation.pictures)).argmax(1).numpy()
    return float((predicted == validation.classes).mean())


def _augmented(pictures: NDArray[np.float32], random: np.random.Generator) -> Tensor:
    """Flips, quarter turns and light: blood has no up and no left."""
    turned = [
        np.rot90(one[:, :, ::-1] if random.random() < 0.5 else one, k=int(random.integers(4)), axes=(1, 2))
        for one in pictures
    ]
    light = random.uniform(0.8, 1.2, (len(pictures), 3, 1, 1)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(np.clip(np.stack(turned) * light, 0, 1)))


def _export(network: SmallNetwork) -> None:
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    names = {0: "batch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(2, 3, SIDE, SIDE),),
            str(MODEL),
            dynamo=False,
            opset_version=18,
            input_names=["pictures"],
            output_names=["logits"],
            dynamic_axes={"pictures": names, "logits": names},
        )
