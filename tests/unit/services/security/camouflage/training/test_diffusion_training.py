"""Training of the diffusion model: what it draws, and that it goes on where it was cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from services.security.camouflage.training.data import HELD_OUT, Photographs, draw_batch, draw_crop, read_photographs
from services.security.camouflage.training.diffusion_training import DiffusionTraining, Recipe
from shared.datasets.photos import FOLDER


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photographs, Photographs]:
    """Read from files as BSDS500 has them, of waves of colour."""
    folder = tmp_path_factory.mktemp("data")
    (folder / FOLDER / "train").mkdir(parents=True)
    rows, columns = np.mgrid[:128, :160]
    for index in range(40):
        waves = np.stack([np.sin(rows / (5 + index)), np.cos(columns / 9), np.sin((rows + columns) / 7)], axis=-1)
        Image.fromarray((waves * 100 + 127).astype(np.uint8)).save(folder / FOLDER / "train" / f"{index:03}.jpg")
    return read_photographs(folder)


def test_validation_has_photographs_of_its_own(photos: tuple[Photographs, Photographs]) -> None:
    used, held_out = photos
    assert len(held_out.pictures) == 2 * HELD_OUT
    assert len(used.pictures) == 2 * (40 - HELD_OUT)
    first = {one.tobytes() for one in used.pictures}
    assert not first & {one.tobytes() for one in held_out.pictures}


def test_batches_are_half_photographs_in_the_range_of_the_network(photos: tuple[Photographs, Photographs]) -> None:
    batch = draw_batch(photos[0], 6, np.random.default_rng(0))
    assert batch.shape == (6, 3, 64, 64)
    assert batch.dtype == np.float32
    assert batch.min() >= -1
    assert batch.max() <= 1
    assert batch.min() < -0.2
    assert (batch == draw_batch(photos[0], 6, np.random.default_rng(0))).all()
    crop = draw_crop(photos[0], np.random.default_rng(0))
    assert np.abs(batch[0].transpose(1, 2, 0) - (crop * 2 - 1)).max() < 1e-6


def test_a_run_that_was_cut_ends_where_an_unbroken_one_does(
    photos: tuple[Photographs, Photographs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.security.camouflage.training.diffusion_training._VALIDATION", 2)
    monkeypatch.setattr("services.security.camouflage.training.diffusion_training._SAVED_EVERY", 1)
    torch.set_num_threads(1)
    recipe = Recipe(steps=3, batch=2, warm_up=1)
    whole = DiffusionTraining(recipe, *photos, tmp_path / "whole")
    whole.run()
    cut = DiffusionTraining(recipe, *photos, tmp_path / "cut")
    advance = cut.advance

    def stop_after_two() -> float:
        if cut.step == 2:
            raise KeyboardInterrupt
        return advance()

    monkeypatch.setattr(cut, "advance", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed = DiffusionTraining(recipe, *photos, tmp_path / "cut")
    resumed.run()
    for one, other in zip(whole.mean.parameters(), resumed.mean.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="another recipe"):
        DiffusionTraining(Recipe(steps=5, batch=2), *photos, tmp_path / "cut").run()
    # A second run begins with the weights of a first.
    second = DiffusionTraining(Recipe(batch=2, start="whole", least_step=200), *photos, tmp_path / "second")
    for one, other in zip(whole.mean.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)
