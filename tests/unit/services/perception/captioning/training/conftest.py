"""Coloured squares that a small captioner learns within seconds, behind a small backbone of random weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.training import features
from services.perception.captioning.training.data import CaptionSet, caption_set
from services.perception.captioning.training.features import Backbone, cache_features, make_backbone
from shared.datasets.captioned_photos import CaptionedPhotos, read_captioned_photos
from tests.support.captioners import SIDE, TINY

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 230)}
PLACES = {"top": 4, "bottom": 36}


@pytest.fixture(scope="package", autouse=True)
def tiny_backbone() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(features.BACKBONES, "tiny", Backbone(TINY, None))
        yield
    torch.set_num_threads(threads)


def squares_folder(folder: Path, counts: dict[str, int]) -> Path:
    """A data set in the form of Flickr8k's, two captions for each picture."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    captions, splits = ["image,caption"], ["image,split"]
    for split, count in counts.items():
        for index in range(count):
            name, colour, place = f"{split}-{index:03}.png", *_drawn(random)
            pixels = random.integers(0, 40, (SIDE, SIDE, 3)).astype(np.uint8)
            left = int(random.integers(0, SIDE - 24))
            pixels[PLACES[place] : PLACES[place] + 24, left : left + 24] = COLOURS[colour]
            Image.fromarray(pixels).save(folder / "images" / name)
            captions += [f"{name},A {colour} square at the {place} .", f'{name},"{place} : one {colour} square"']
            splits.append(f"{name},{split}")
    (folder / "captions.csv").write_text("\n".join(captions), encoding="utf-8")
    (folder / "splits.csv").write_text("\n".join(splits), encoding="utf-8")
    return folder


def _drawn(random: np.random.Generator) -> tuple[str, str]:
    return str(random.choice(list(COLOURS))), str(random.choice(list(PLACES)))


@pytest.fixture(scope="package")
def squares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaptionedPhotos]:
    folder = squares_folder(tmp_path_factory.mktemp("squares") / "captions", {"train": 96, "val": 24, "test": 4})
    return read_captioned_photos(folder)


@pytest.fixture(scope="package")
def random_backbone(squares: dict[str, CaptionedPhotos], tiny_backbone: None) -> EfficientNetLite:
    pictures = np.stack([features.read_picture(file, SIDE) for file in squares["train"].files[:32]])
    return make_backbone("tiny", torch.from_numpy(pictures))


@pytest.fixture
def backbone(random_backbone: EfficientNetLite) -> EfficientNetLite:
    return copy.deepcopy(random_backbone)


@pytest.fixture(scope="package")
def sets(
    squares: dict[str, CaptionedPhotos], random_backbone: EfficientNetLite, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CaptionSet]:
    folder = tmp_path_factory.mktemp("features")
    return {
        name: caption_set(part, cache_features(part.files, random_backbone, folder / name, side=SIDE))
        for name, part in squares.items()
    }
