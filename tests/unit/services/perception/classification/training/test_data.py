from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from services.perception.classification.training.data import augment, batches
from shared.datasets.traffic_signs import Signs, read_test, read_training, split_by_track
from shared.settings import get_settings


def test_no_track_is_split(stripes: Signs) -> None:
    training, validation = split_by_track(stripes, share=0.25)
    assert not set(training.tracks) & set(validation.tracks)
    assert set(validation.classes) == set(stripes.classes) == set(training.classes)
    assert len(training) + len(validation) == len(stripes)
    assert len(validation) == 4 * 2 * 4


def test_a_class_with_few_tracks_still_gives_one(stripes: Signs) -> None:
    _, validation = split_by_track(stripes, share=0.01)
    assert len(set(validation.tracks)) == 4


def test_epochs_differ_and_can_be_drawn_again(stripes: Signs) -> None:
    def draw(epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        pictures, classes = zip(*batches(stripes, size=32, epoch=epoch, seed=1), strict=True)
        return torch.cat(pictures), torch.cat(classes)

    first, again, second = draw(0), draw(0), draw(1)
    torch.testing.assert_close(first[0], again[0], rtol=0, atol=0)
    assert not torch.equal(first[1], second[1])
    assert sorted(first[1].tolist()) == sorted(stripes.classes.tolist())


def test_augmentation_never_mirrors() -> None:
    random = np.random.default_rng(0)
    picture = torch.zeros(3, 32, 32)
    picture[:, 4:28, 4:14] = 1
    moved = augment(picture.expand(200, 3, 32, 32), random)
    alike, mirrored = ((moved - other).square().mean(dim=(1, 2, 3)) for other in (picture, picture.flip(2)))
    assert bool((alike < mirrored).all())
    assert 0 <= float(moved.min()) < float(moved.max()) <= 1


def test_tiles_are_read_where_the_table_says(tmp_path: Path) -> None:
    sheet = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3).repeat(32, axis=0).repeat(32, axis=1) * 20
    (tmp_path / "train").mkdir()
    Image.fromarray(sheet).save(tmp_path / "train" / "07.webp", lossless=True)
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class_id", "track", "frame", "row", "col"])
        writer.writerows([[7, 3, 0, 0, 1], [7, 4, 2, 1, 0]])
    signs = read_training(tmp_path)
    assert signs.pictures[:, 0, 0].tolist() == [[60, 80, 100], [120, 140, 160]]
    assert signs.classes.tolist() == [7, 7]
    assert signs.tracks.tolist() == [7003, 7004]


@pytest.mark.data
def test_the_benchmark_as_published() -> None:
    folder = get_settings().data / "traffic-signs"
    if not folder.exists():
        pytest.skip("FACET_DATA has no traffic-signs")
    training, test = read_training(folder), read_test(folder)
    assert (len(training), len(test)) == (19_605, 12_630)
    assert len(set(training.tracks)) == 1307
    assert set(training.classes) == set(test.classes) == set(range(43))
