"""Manifest, prepared films, augmentation and batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.training.data.augmentation import PLAIN, AugmentationOptions, augment
from services.medical.chest_xray.training.data.manifest import FOLDER, TAGS, in_fold, read_manifest
from services.medical.chest_xray.training.data.preparation import INDEX, Placement, prepare_films
from services.medical.chest_xray.training.stages.batches import Mixture, boxed_source, real_source
from shared.settings import get_settings

SIZE = (80, 64)


def test_labels_and_boxes_of_the_manifest(drawn_data: Path) -> None:
    films = read_manifest(drawn_data)
    assert [film.label for film in films[:3]] == [CLASSES.index(one) for one in ("normal", "chf_like", "pneumonia")]
    assert [film.opacity for film in films[:3]] == [False, False, True]
    assert [film.normal for film in films[:3]] == [True, False, False]
    assert films[2].boxes == ((102 / 512, 246 / 512, 102 / 512, 122 / 512),)


def test_real_manifest_is_split_by_patient() -> None:
    data = get_settings().data
    if not (data / FOLDER).is_dir():
        pytest.skip("the chest films are not in FACET_DATA")
    films = read_manifest(data)
    splits: dict[str, set[str]] = {}
    for film in films:
        splits.setdefault(film.patient, set()).add(film.split)
    assert len(films) == 879
    assert all(len(one) == 1 for one in splits.values())
    assert sum(film.opacity is not None for film in films) == 291
    assert sum(bool(film.boxes) for film in films) == 104
    assert sum(bool(film.nih_boxes) for film in films) == 38
    heart = [film for film in films if film.tags & {"Edema", "Cardiomegaly"}]
    assert {CLASSES[film.label] for film in heart} == {"chf_like"}
    assert all(x >= 0 and x + width <= 1.01 for film in films for x, _, width, _ in film.boxes)


def test_each_patient_is_tested_in_one_fold(drawn_data: Path) -> None:
    films = read_manifest(drawn_data)
    tested = Counter(
        film.patient
        for fold in range(5)
        for film, split in zip(films, in_fold(films, fold, 5), strict=True)
        if split == "test"
    )
    assert set(tested.values()) == {1}
    assert len(tested) == len(films)


def test_a_square_film_lies_between_bars_and_its_boxes_with_it(drawn_data: Path, tmp_path: Path) -> None:
    prepared = prepare_films(drawn_data, read_manifest(drawn_data), tmp_path, SIZE)
    assert prepared.placements[2] == Placement(8, 0, 64, 64)
    (box,) = prepared.boxes(2)
    assert box == pytest.approx((102 / 8, 8 + 246 / 8, 102 / 8, 122 / 8))
    film = np.asarray(prepared.arrays[2], np.float32)
    assert film[:8].max() == film[72:].max() == 0
    # The box holds the patch that is brighter than the other lung at the same height.
    x, y, width, height = (round(one) for one in box)
    assert film[y : y + height, x : x + width].mean() > film[y : y + height, 64 - x - width : 64 - x].mean() + 40


def test_prepared_films_are_kept_until_what_they_are_made_of_changes(drawn_data: Path, tmp_path: Path) -> None:
    films = read_manifest(drawn_data)
    first = prepare_films(drawn_data, films, tmp_path, SIZE)
    written = (tmp_path / INDEX).stat().st_mtime_ns
    again = prepare_films(drawn_data, films, tmp_path, SIZE)
    assert (tmp_path / INDEX).stat().st_mtime_ns == written
    assert np.array_equal(first.arrays, again.arrays)
    assert first.placements == again.placements
    assert prepare_films(drawn_data, films[:4], tmp_path, SIZE).arrays.shape == (4, *SIZE)


def test_plain_augmentation_changes_nothing() -> None:
    films = torch.rand(2, 1, 40, 32)
    seen, maps = augment(films, PLAIN, torch.Generator().manual_seed(0))
    assert maps is None
    assert torch.allclose(seen, films, atol=1e-5)


def test_attention_moves_with_its_film() -> None:
    films, maps = torch.zeros(8, 1, 80, 64), torch.zeros(8, 80, 64)
    films[:, 0, 50:54, 20:24] = 1
    maps[:, 50:54, 20:24] = 1 / 16
    limits = AugmentationOptions(contrast=0, brightness=0, gamma=0, border=0, corners=0, shift=0.1, rotation=20)
    seen, moved = augment(films, limits, torch.Generator().manual_seed(0), maps=maps)
    assert moved is not None
    assert torch.allclose(moved.sum(dim=(1, 2)), torch.ones(8), atol=1e-5)
    places = [divmod(int(one.flatten().argmax()), 64) for one in moved]
    assert len(set(places)) > 4
    assert all(float(film[0][place]) > 0.7 for film, place in zip(seen, places, strict=True))


def test_augmentation_depends_on_its_generator_alone_and_masks_corners() -> None:
    films, limits = torch.ones(4, 1, 40, 32), AugmentationOptions(corners=1.0)
    views = [augment(films, limits, torch.Generator().manual_seed(seed))[0] for seed in (3, 3, 4)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    assert bool((views[0][:, 0, 0, 0] == 0).any())
    assert float(views[0].min()) >= 0
    assert float(views[0].max()) <= 1


def test_batches_are_those_of_their_step_and_balanced_where_asked(drawn_data: Path, tmp_path: Path) -> None:
    train = prepare_films(drawn_data, read_manifest(drawn_data), tmp_path, SIZE).of_split("train")
    few = real_source(train.take([0, 1, 2, 3, 4, 6, 9]), balanced=True)
    mixture = Mixture([(few, 6)], AugmentationOptions(), seed=1)
    drawn = [mixture.draw(step) for step in (5, 6, 5)]
    assert torch.equal(drawn[0].films, drawn[2].films)
    assert not torch.equal(drawn[0].films, drawn[1].films)
    assert sorted(drawn[0].labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert drawn[0].tags.shape == (6, len(TAGS) + 1)


def test_boxed_films_have_their_attention_in_the_box(drawn_data: Path, tmp_path: Path) -> None:
    train = prepare_films(drawn_data, read_manifest(drawn_data), tmp_path, SIZE).of_split("train")
    source = boxed_source(train)
    assert source.attention is not None
    assert len(source) == sum(bool(film.boxes) for film in train.films) > 0
    assert set(source.labels) == {CLASSES.index("pneumonia")}
    inside = source.attention[:, 38:54, 13:26].sum(axis=(1, 2))
    assert inside.min() > 0.4
