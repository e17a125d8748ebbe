"""Films with inserted findings out of the generator of training, as attention is measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.medical.chest_xray.evaluation import inserted
from services.medical.chest_xray.evaluation.attention import inserted_cases
from services.medical.chest_xray.evaluation.film_set import SIZE
from services.medical.chest_xray.evaluation.inserted import inserted_films
from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.targets.simulation import SimulatedFilms


def test_films_are_of_the_split_and_densities_sum_to_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def simulate(films: PreparedFilms, split: str, count: int, folder: Path, *, seed: int) -> SimulatedFilms:
        asked.update(splits={film.split for film in films.films}, folder=folder, seed=seed)
        arrays = np.asarray(films.arrays[:count])
        # Stored as a multiple of the density, in half precision.
        attention = (arrays.astype(np.float32) * 50).astype(np.float16)
        return SimulatedFilms(arrays, attention, np.zeros(count, np.int64))

    monkeypatch.setattr(inserted, "simulate_films", simulate)
    source = inserted_films(data, tmp_path)
    made = source("test", 3, 7)
    assert asked == {"splits": {"test"}, "folder": tmp_path / "inserted-test", "seed": 7}
    assert len(made) == 3
    for film, density in made:
        assert film.shape == density.shape == SIZE
        assert film.dtype == density.dtype == np.float32
        assert 0 <= film.min() <= film.max() <= 1
        assert density.sum(dtype=np.float64) == pytest.approx(1, abs=1e-3)
    (case, *_) = inserted_cases(source, "val", 1, 0, SIZE)
    assert (case.prepared.top, case.prepared.height) == (32, 256)
