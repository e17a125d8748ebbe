"""Films with inserted findings as the generator of training makes them, for measuring attention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.attention import InsertedFilms
from services.medical.chest_xray.evaluation.film_set import SIZE
from services.medical.chest_xray.training.data.manifest import read_manifest
from services.medical.chest_xray.training.data.preparation import prepare_films
from services.medical.chest_xray.training.targets.simulation import simulate_films


def inserted_films(data: Path, cache: Path) -> InsertedFilms:
    """Findings inserted into normal films of a split.

    Args:
        data: folder of all data sets.
        cache: folder that films are kept in.
    """

    def make(split: str, count: int, seed: int) -> Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        films = [film for film in read_manifest(data) if film.split == split]
        prepared = prepare_films(data, films, cache / f"prepared-{split}", SIZE)
        made = simulate_films(prepared, split, count, cache / f"inserted-{split}", seed=seed)
        return [
            (film.astype(np.float32) / 255, attention.astype(np.float32) / np.float32(attention.sum(dtype=np.float64)))
            for film, attention in zip(made.arrays, made.attention, strict=True)
        ]

    return make
