"""Sets as they are read, of the generated files and, where they are at hand, of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.perception.detection.training.data import BLOOD_CELLS, CARLA, read_detection_set
from shared.settings import get_settings
from tests.support.detectors import CLASSES, SOURCE


def test_pictures_have_their_objects(rectangles: Path) -> None:
    data = read_detection_set(rectangles, SOURCE, "train")
    assert data.classes == CLASSES
    assert [image.shape[:2] for image in data.images] == [(64, 96), (72, 64)] * 3
    assert [len(targets) for targets in data.targets] == [2, 0, 2, 2, 2, 2]
    assert data.targets[1].boxes.shape == (0, 4)
    for image, targets in zip(data.images, data.targets, strict=True):
        for (left, top, right, bottom), label in zip(targets.boxes.int().tolist(), targets.labels, strict=True):
            inside = image[top:bottom, left:right].reshape(-1, 3)
            assert bool((inside == inside[0]).all())
            assert (
                CLASSES[int(label)]
                == {(230, 26, 26): "red", (26, 51, 230): "blue", (230, 230, 26): "yellow"}[tuple(inside[0].tolist())]
            )


def test_parts_of_a_set(rectangles: Path) -> None:
    whole = read_detection_set(rectangles, SOURCE, "train")
    some = read_detection_set(rectangles, SOURCE, "train", domains=["B"], classes=["blue"])
    assert some.classes == ("blue",)
    assert some.domains == ["B"] * 3
    expected = whole.of_domains(["B"])
    for one, other in zip(some.targets, expected.targets, strict=True):
        torch.testing.assert_close(one.boxes, other.boxes[other.labels == 1])
        assert set(one.labels.tolist()) <= {0}
    with pytest.raises(ValueError, match="has the classes"):
        read_detection_set(rectangles, SOURCE, "train", classes=["green"])
    with pytest.raises(FileNotFoundError):
        read_detection_set(rectangles / "elsewhere", SOURCE, "train")


def test_boxes_follow_the_size(rectangles: Path) -> None:
    own = read_detection_set(rectangles, SOURCE, "test")
    half = read_detection_set(rectangles, SOURCE, "test", short_side=32)
    assert [min(image.shape[:2]) for image in half.images] == [32, 32]
    assert half.scales == [0.5, 0.5]
    torch.testing.assert_close(half.targets[0].boxes, own.targets[0].boxes / 2)


@pytest.mark.data
@pytest.mark.parametrize(("source", "counts"), [(BLOOD_CELLS, {"B": 66, "P": 75, "R": 75}), (CARLA, {"Town05": 249})])
def test_the_real_sets_have_their_domains(source: object, counts: dict[str, int]) -> None:
    folder = get_settings().data
    if not (folder / source.folder).exists():  # type: ignore[attr-defined]
        pytest.skip(f"{folder} is not there")
    data = read_detection_set(folder, source, "test")  # type: ignore[arg-type]
    assert {domain: data.domains.count(domain) for domain in set(data.domains)} == counts
    for image, targets in zip(data.images, data.targets, strict=True):
        height, width = image.shape[:2]
        assert bool((targets.boxes[:, 2:] > targets.boxes[:, :2]).all())
        assert bool((targets.boxes[:, 2:] <= torch.tensor([width, height]) + 1).all())
