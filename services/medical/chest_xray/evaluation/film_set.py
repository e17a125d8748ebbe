"""The films that everything is measured on, prepared as the service prepares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.perturbations import ORIGINAL, VARIANTS
from services.medical.chest_xray.films import Prepared, prepare_film
from services.medical.chest_xray.training.data.manifest import FOLDER, Film, in_fold, read_manifest
from services.medical.chest_xray.training.data.preparation import read_picture

SIZE: Final = (320, 256)
FOLDS: Final = 5
_BATCH: Final = 8


@dataclass(frozen=True)
class FilmSet:
    """All films, in the order of the manifest.

    Attributes:
        data: folder of all data sets.
        films: what is known of each.
    """

    data: Path
    films: Sequence[Film]

    @classmethod
    def of_folder(cls, data: Path) -> FilmSet:
        """The films of the folder of all data sets; errors as of `read_manifest`."""
        return cls(data, read_manifest(data))

    def __len__(self) -> int:
        return len(self.films)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Text-mined class of each."""
        return np.array([film.label for film in self.films])

    @cached_property
    def opacity(self) -> NDArray[np.int64]:
        """1 and 0 by the radiologists' class, -1 where they have not seen a film."""
        return np.array([-1 if film.opacity is None else int(film.opacity) for film in self.films])

    @cached_property
    def patients(self) -> NDArray[np.int64]:
        """Whose films they are."""
        return np.array([int(film.patient) for film in self.films])

    @cached_property
    def views(self) -> NDArray[Any]:
        """AP or PA."""
        return np.array([film.view for film in self.films])

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """Part that each is held out in, of a cross-validation by patient over all films, as training has them."""
        found = np.full(len(self), -1)
        for fold in range(FOLDS):
            found[[split == "test" for split in in_fold(self.films, fold, FOLDS)]] = fold
        return found

    @cached_property
    def shown_changed(self) -> NDArray[np.bool_]:
        """Films that are also shown with changes: those of the test split, and those that radiologists have seen."""
        return self.of("test") | (self.opacity >= 0)

    def of(self, split: str) -> NDArray[np.bool_]:
        """Which films are in a split."""
        return np.array([film.split == split for film in self.films])

    def read(self, index: int) -> NDArray[np.float32]:
        """Grey values of one film, float32 (h, w) in [0, 1]."""
        return read_picture(self.data / FOLDER / "images" / self.films[index].file)

    def prepare(self, index: int, size: tuple[int, int] = SIZE, variant: str = ORIGINAL) -> Prepared:
        """One film as a network sees it."""
        return prepare_film(VARIANTS[variant](self.read(index)), size)

    def batches(
        self, indices: Sequence[int] | NDArray[np.int64], size: tuple[int, int] = SIZE, variant: str = ORIGINAL
    ) -> Iterator[NDArray[np.float32]]:
        """Films (n, H, W), a few at a time."""
        for start in range(0, len(indices), _BATCH):
            yield np.stack([self.prepare(int(one), size, variant).array for one in indices[start : start + _BATCH]])
