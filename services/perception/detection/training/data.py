"""Pictures with boxes out of COCO JSON files: blood cells and CARLA street scenes, by domain and split.

A set is a folder with `<split>.json` and `images/`. Terms of both are in their folders; neither is part of this
repository.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from services.perception.detection.optimisation.instances import Targets

SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DetectionSource:
    """A data set.

    Attributes:
        folder: below the folder of all data sets.
        domain: key of an image's entry that names where it is from.
        origin: whose it is, in words, for cards.
    """

    folder: str
    domain: str
    origin: str = ""


BLOOD_CELLS: Final = DetectionSource("blood-cells", "domain")
"""Microscope images of three origins, B, P and R; classes WBC, RBC, Platelets."""
CARLA: Final = DetectionSource("carla", "town", "CARLA, simulated frames by DanielHfnr (MIT)")
"""Simulated street scenes of Town01 to Town05, the last in `test` alone."""


@dataclass(frozen=True, slots=True)
class DetectionSet:
    """Pictures and their objects, all lists in the same order.

    Attributes:
        classes: names, in the order of the labels.
        images: uint8 (height, width, 3), RGB, as large as they were asked for.
        targets: boxes in pixels of these images.
        domains: where each is from.
        scales: pixels of an image per pixel of its file.
    """

    classes: tuple[str, ...]
    images: list[NDArray[np.uint8]]
    targets: list[Targets]
    domains: list[str]
    scales: list[float]

    def __len__(self) -> int:
        return len(self.images)

    def of_domains(self, domains: Collection[str]) -> DetectionSet:
        """The pictures of some domains."""
        return self.take([index for index, domain in enumerate(self.domains) if domain in domains])

    def take(self, indices: Collection[int]) -> DetectionSet:
        """Some of the pictures, in the order given."""
        return DetectionSet(
            self.classes,
            [self.images[index] for index in indices],
            [self.targets[index] for index in indices],
            [self.domains[index] for index in indices],
            [self.scales[index] for index in indices],
        )


def read_detection_set(
    data: Path,
    source: DetectionSource,
    split: str,
    *,
    classes: Collection[str] | None = None,
    domains: Collection[str] | None = None,
    short_side: int | None = None,
) -> DetectionSet:
    """A split of a data set.

    Args:
        data: folder of all data sets.
        source: which one.
        split: `train`, `val` or `test`.
        classes: names of those that are kept, in the order of the file; all by default.
        domains: that are kept; all by default.
        short_side: of the images in pixels; as in their files by default.

    Raises:
        FileNotFoundError: the set is not there.
        ValueError: it has no such class.
    """
    content = json.loads((data / source.folder / f"{split}.json").read_text(encoding="utf-8"))
    kept = [one for one in content["categories"] if classes is None or one["name"] in classes]
    if classes is not None and len(kept) != len(set(classes)):
        raise ValueError(f"{source.folder} has the classes {[one['name'] for one in content['categories']]}")
    numbers = {one["id"]: index for index, one in enumerate(kept)}
    found = DetectionSet(tuple(one["name"] for one in kept), [], [], [], [])
    annotations = _by_image(content)
    for entry in content["images"]:
        if domains is None or entry[source.domain] in domains:
            pixels, scale = _read_image(data / source.folder / "images" / entry["file_name"], short_side)
            found.images.append(pixels)
            found.targets.append(_targets(annotations.get(entry["id"], []), numbers, scale))
            found.domains.append(entry[source.domain])
            found.scales.append(scale)
    return found


def _by_image(content: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def _read_image(file: Path, short_side: int | None) -> tuple[NDArray[np.uint8], float]:
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    scale = 1.0 if short_side is None else short_side / min(picture.size)
    if scale != 1:
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(picture), scale


def _targets(annotations: list[dict[str, Any]], numbers: dict[int, int], scale: float) -> Targets:
    chosen = [one for one in annotations if one["category_id"] in numbers]
    boxes = torch.tensor([one["bbox"] for one in chosen], dtype=torch.float32).reshape(-1, 4) * scale
    labels = torch.tensor([numbers[one["category_id"]] for one in chosen], dtype=torch.int64)
    return Targets(torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), dim=1), labels)
