"""Films with inserted findings and their attention: made once for a seed, kept in a folder, the same for the same seed.

Findings are inserted into real normal films: those of training patients for training, of test patients for measuring
attention. Such a film is never in a test of diagnosis.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.films import PREPROCESSING
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.training.data.manifest import SPLITS
from services.medical.chest_xray.training.data.preparation import PreparedFilms, to_bytes, to_greys
from services.medical.chest_xray.training.targets.anatomy import LungFields, estimate_lungs
from services.medical.chest_xray.training.targets.heart_failure import insert_heart_failure
from services.medical.chest_xray.training.targets.observer import OBSERVER, Finding, box_density, fixation_density
from services.medical.chest_xray.training.targets.opacities import insert_opacities

Field = NDArray[np.float32]

GENERATOR: Final = "insertion-1"
"""Version of what is inserted; a change of any number behind it changes this."""
SEED: Final = 16970
_SHARES: Final = (0.25, 0.375, 0.375)
"""Of films without a finding, with heart failure, with pneumonia."""
_FILMS, _MAPS, _LABELS, _INDEX = "films.npy", "attention.npy", "labels.npy", "index.json"


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedFilms:
    """Films and where an observer looks, in the same order.

    Attributes:
        arrays: uint8 (n, H, W), may be mapped from a file.
        attention: float16 (n, H, W), H * W times a density, since a density alone is too small for this type.
        labels: int64 (n,), indices of classes.
    """

    arrays: NDArray[np.uint8]
    attention: NDArray[np.float16]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def simulate_film(
    film: Field, lungs: LungFields, label: int, random: np.random.Generator
) -> tuple[Field, Field, list[Finding]]:
    """A film with a finding of a class, the density of fixations on it, and its findings.

    Args:
        film: float32 (H, W) in [0, 1], normal.
        lungs: of the film.
        label: index of the class.
        random: decides all.
    """
    findings: list[Finding] = []
    if CLASSES[label] == "pneumonia":
        film, findings = insert_opacities(film, lungs, random)
    elif CLASSES[label] == "chf_like":
        film, findings = insert_heart_failure(film, lungs, random)
    return film, fixation_density(lungs, findings, random), findings


def simulate_films(normals: PreparedFilms, split: str, count: int, folder: Path, *, seed: int = SEED) -> SimulatedFilms:
    """Simulate films of a split, or read those that were simulated so before.

    Args:
        normals: films of the split; those that are not normal, or whose lungs are not found, are left out.
        split: `train`, `val` or `test`, part of the seed.
        count: how many.
        folder: where they are kept.
        seed: of all that is drawn.

    Raises:
        ValueError: there is none with lungs.
    """
    stated: dict[str, Any] = {
        "generator": GENERATOR,
        "observer": OBSERVER,
        "preprocessing": PREPROCESSING,
        "split": split,
        "seed": seed,
        "count": count,
        "size": list(normals.arrays.shape[1:]),
        "files": [film.file for film in normals.films if film.normal],
    }
    if not _kept(folder, stated):
        _simulate(normals, split, count, folder, seed)
        (folder / _INDEX).write_text(json.dumps(stated), encoding="utf-8")
    arrays, attention = (np.load(folder / name, mmap_mode="r") for name in (_FILMS, _MAPS))
    return SimulatedFilms(arrays, attention, np.load(folder / _LABELS))


def _kept(folder: Path, stated: dict[str, Any]) -> bool:
    file = folder / _INDEX
    return file.exists() and bool(json.loads(file.read_text(encoding="utf-8")) == stated)


def _simulate(normals: PreparedFilms, split: str, count: int, folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _INDEX).unlink(missing_ok=True)
    usable = _usable(normals)
    shape = (count, *normals.arrays.shape[1:])
    arrays = np.lib.format.open_memmap(folder / _FILMS, "w+", np.uint8, shape)
    maps = np.lib.format.open_memmap(folder / _MAPS, "w+", np.float16, shape)
    labels = np.zeros(count, np.int64)
    for index in range(count):
        random = np.random.default_rng((seed, SPLITS.index(split), index))
        chosen, lungs = usable[int(random.integers(len(usable)))]
        labels[index] = random.choice(len(CLASSES), p=_SHARES)
        film = to_greys(normals.arrays[chosen])
        changed, density, _ = simulate_film(film, lungs, int(labels[index]), random)
        arrays[index], maps[index] = to_bytes(changed), (density * density.size).astype(np.float16)
    arrays.flush()
    maps.flush()
    np.save(folder / _LABELS, labels)


def _usable(films: PreparedFilms) -> list[tuple[int, LungFields]]:
    """Places of normal films whose lungs were found, with these."""
    found = []
    for index, film in enumerate(films.films):
        if film.normal:
            lungs = estimate_lungs(to_greys(films.arrays[index]), films.placements[index])
            if lungs.plausible:
                found.append((index, lungs))
    if not found:
        raise ValueError("findings are inserted into normal films with plain lungs, and there is none")
    return found


def box_targets(films: PreparedFilms, *, seed: int = SEED) -> tuple[list[int], Field]:
    """Films with a radiologist's boxes, by their places, and the observer's density on each, boxes fully visible.

    Returns:
        Places in the set, and float32 (n, H, W).
    """
    places, maps = [], []
    for index in range(len(films)):
        boxes = films.boxes(index)
        if boxes:
            film, placement = to_greys(films.arrays[index]), films.placements[index]
            lungs: LungFields = estimate_lungs(film, placement)
            found = Finding(box_density(boxes, film.shape, placement), 1.0)
            places.append(index)
            maps.append(fixation_density(lungs, [found], np.random.default_rng((seed, 3, index))))
    return places, np.stack(maps) if maps else np.zeros((0, *films.arrays.shape[1:]), np.float32)
