"""A data set of coloured rectangles in the form of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.detectors import CLASSES, SOURCE, rectangle_image

SIZES = ((64, 96), (72, 64))


@pytest.fixture(scope="package")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of data sets: six training pictures of two sizes and places, two test pictures, one without objects."""
    data = tmp_path_factory.mktemp("data")
    (data / SOURCE.folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        content: dict[str, list[dict[str, object]]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 5 + index, "name": name} for index, name in enumerate(CLASSES)],
        }
        for index in range(count):
            height, width = SIZES[index % 2]
            drawn = [] if index == 1 else _drawn(random)
            image, targets = rectangle_image(drawn, height, width)
            name = f"{split}-{index}.png"
            pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(data / SOURCE.folder / "images" / name)
            place = "AB"[index % 2]
            content["images"].append(
                {"id": 100 + index, "file_name": name, "width": width, "height": height, SOURCE.domain: place}
            )
            for label, (left, top, right, bottom) in zip(targets.labels.tolist(), targets.boxes.tolist(), strict=True):
                box = [left, top, right - left, bottom - top]
                known = {"id": len(content["annotations"]) + 1, "image_id": 100 + index, "bbox": box}
                content["annotations"].append(known | {"category_id": 5 + label, "area": box[2] * box[3], "iscrowd": 0})
        (data / SOURCE.folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return data


def _drawn(random: np.random.Generator) -> list[tuple[int, tuple[int, int, int, int]]]:
    left, top = (int(value) for value in random.integers(2, 12, 2))
    return [
        (int(random.integers(0, 3)), (left, top, left + 20, top + 24)),
        (int(random.integers(0, 3)), (left + 26, top + 10, left + 48, top + 30)),
    ]
