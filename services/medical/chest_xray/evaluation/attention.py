"""Predicted attention beside priors that know no film: on films with inserted findings, and on radiologists' boxes.

No gaze is measured here. On inserted findings (T2) a map is compared with the density of the written-down observer; on
real films that training has not seen, with boxes, on the film's own grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.film_set import FOLDS, FilmSet
from services.medical.chest_xray.evaluation.subjects import OnnxFilms, OnnxSubject
from services.medical.chest_xray.films import Prepared, prepare_film
from services.medical.chest_xray.patient_statistics import mean_by_patient, mean_difference
from services.medical.chest_xray.saliency_metrics import (
    auc_judd,
    correlation,
    energy_inside,
    histogram_similarity,
    kl_divergence,
    pointing_hit,
)
from services.medical.chest_xray.training.data.manifest import Box

Map = NDArray[np.float32]
Line = dict[str, Any]

InsertedFilms = Callable[[str, int, int], Sequence[tuple[Map, Map]]]
"""Films with inserted findings of a split and the observer's densities on them, (H, W) both: split, count, seed."""

TRAINING_MAPS: Final = 200
"""Films that the mean density of training is of."""

SPREAD: Final = 0.25
"""Standard deviation of the centre prior, as a share of each side."""

_ABNORMAL: Final = (1, 2)
_TARGET_METRICS: Final = {"KL": kl_divergence, "CC": correlation, "HS": histogram_similarity}
_BOX_METRICS: Final = {"pointing game": pointing_hit, "energy in box": energy_inside, "AUC-Judd": auc_judd}

Prior = Callable[[Prepared], Map]
"""A map (H, W) for a film that it does not look at, beyond its bars."""


def uniform(prepared: Prepared) -> Map:
    """The same everywhere on the film."""
    return prepared.to_network_grid(np.ones(prepared.film_shape, np.float32))


def centre_prior(prepared: Prepared) -> Map:
    """A Gaussian in the middle of the film."""
    axes = [np.exp(-0.5 * ((np.arange(n) + 0.5) / n - 0.5) ** 2 / SPREAD**2) for n in prepared.film_shape]
    return prepared.to_network_grid(np.outer(*axes).astype(np.float32))


def mean_prior(maps: Sequence[Map]) -> Prior:
    """The mean of maps on the network's grid, each of which sums to 1."""
    mean: Map = np.asarray(np.mean(maps, axis=0, dtype=np.float64), np.float32)
    return lambda prepared: mean


def class_evidence(evidence: NDArray[np.float32], logits: NDArray[np.float32]) -> Map:
    """Grad-CAM of the more probable abnormal class: (h, w), rectified; the same everywhere where nothing is left.

    Args:
        evidence: (3, h, w).
        logits: (3,).
    """
    label = max(_ABNORMAL, key=lambda one: float(logits[one]))
    found: Map = np.maximum(evidence[label], 0)
    return found if found.max() > 0 else np.ones_like(found)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A film with something to look at.

    Attributes:
        prepared: the film.
        index: in the film set; -1 of a film that was made.
        target: density (H, W) on the network's grid, or None.
        boxes: (h, w) on the film's grid, or None.
    """

    prepared: Prepared
    index: int
    target: Map | None = None
    boxes: NDArray[np.bool_] | None = None

    def figures(self, values: Map) -> dict[str, float]:
        """All metrics of a map on the network's grid, or coarser over the same field."""
        if self.target is not None:
            field = self.prepared.to_network_grid(self.prepared.to_film_grid(values))
            return {name: metric(self.target, field) for name, metric in _TARGET_METRICS.items()}
        assert self.boxes is not None  # noqa: S101 - one of both is given
        shown = self.prepared.to_film_grid(values)
        return {name: metric(self.boxes, shown) for name, metric in _BOX_METRICS.items()}


def inserted_cases(source: InsertedFilms, split: str, count: int, seed: int, size: tuple[int, int]) -> list[Case]:
    """Films of a source, prepared, with their densities."""
    cases = []
    for film, density in source(split, count, seed):
        prepared = without_bars(film) if film.shape == size else prepare_film(film, size)
        target = density if film.shape == size else prepared.to_network_grid(density)
        cases.append(Case(prepared, -1, target=target))
    return cases


def without_bars(film: Map) -> Prepared:
    """A film that lies on the network's grid already: the black rows and columns around it are its bars."""
    rows, columns = (np.flatnonzero(film.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Prepared(film, (film.shape[0], film.shape[1]), 0, 0, film.shape[0], film.shape[1])
    height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    return Prepared(film, (height, width), int(rows[0]), int(columns[0]), height, width)


def boxed_cases(films: FilmSet, wanted: NDArray[np.bool_], size: tuple[int, int]) -> list[Case]:
    """Wanted films that have a box."""
    cases = []
    for index in np.flatnonzero(wanted).tolist():
        film = films.films[index]
        if boxes := (*film.boxes, *film.nih_boxes):
            prepared = films.prepare(index, size)
            cases.append(Case(prepared, index, boxes=box_mask(boxes, prepared.film_shape)))
    return cases


def box_mask(boxes: Sequence[Box], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w): pixels whose centre lies in one of the boxes, which are shares of width and height."""
    rows, columns = ((np.arange(size) + 0.5) / size for size in shape)
    inside = np.zeros(shape, bool)
    for left, top, width, height in boxes:
        inside |= np.outer((rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width))
    return inside


def box_prior(cases: Sequence[Case]) -> Prior:
    """The mean of the boxes of films, each film's boxes summing to 1."""
    maps = [case.prepared.to_network_grid(np.asarray(case.boxes, np.float32)) for case in cases]
    return mean_prior(maps)


def measure_priors_on_boxes(films: FilmSet, size: tuple[int, int]) -> Iterator[tuple[str, Line]]:
    """Priors on the boxes of the test split, and of all films with the mean of the other folds; by name."""
    test, everything = boxed_cases(films, films.of("test"), size), boxed_cases(films, np.ones(len(films), bool), size)
    training = boxed_cases(films, films.of("train"), size)
    of_folds = [box_prior([case for case in everything if films.folds[case.index] != fold]) for fold in range(FOLDS)]
    for name, prior in (("uniform", uniform), ("centre", centre_prior)):
        yield name, {"test": measure_prior(test, prior), "folds": measure_prior(everything, prior)}
    found = [case.figures(of_folds[films.folds[case.index]](case.prepared)) for case in everything]
    yield (
        "mean of training boxes",
        {"test": measure_prior(test, box_prior(training)), "folds": _columns(found, everything)},
    )


def measure_priors_on_targets(cases: Sequence[Case], training: Sequence[Case]) -> Iterator[tuple[str, Line]]:
    """Priors on inserted findings, by name.

    Args:
        cases: of the test split.
        training: of the training split.
    """
    mean = mean_prior([case.target for case in training if case.target is not None])
    for name, prior in (("uniform", uniform), ("centre", centre_prior), ("mean of training densities", mean)):
        yield name, measure_prior(cases, prior)


def measure_prior(cases: Sequence[Case], prior: Prior) -> Line:
    """Figures of each case, by metric."""
    return _columns([case.figures(prior(case.prepared)) for case in cases], cases)


def measure_model(cases: Sequence[Case], run: OnnxFilms) -> dict[str, Line]:
    """Figures of each case for attention and for Grad-CAM, by metric."""
    rows: dict[str, list[dict[str, float]]] = {"attention": [], "Grad-CAM": []}
    for case in cases:
        found = run(case.prepared.array[None])
        rows["attention"].append(case.figures(found["attention"][0]))
        rows["Grad-CAM"].append(case.figures(class_evidence(found["evidence"][0], found["logits"][0])))
    return {name: _columns(figures, cases) for name, figures in rows.items()}


def measure_model_on_boxes(films: FilmSet, subject: OnnxSubject) -> dict[str, Line]:
    """The same on boxes that training has not seen: of the test split, or of each fold by the model without it."""
    if subject.once_trained:
        run = OnnxFilms(subject.file(0))
        return measure_model(boxed_cases(films, films.of("test"), run.size), run)
    parts = []
    for fold in range(FOLDS):
        run = OnnxFilms(subject.file(fold))
        parts.append(measure_model(boxed_cases(films, films.folds == fold, run.size), run))
    return {
        name: {column: [value for part in parts for value in part[name][column]] for column in parts[0][name]}
        for name in parts[0]
    }


def _columns(rows: Sequence[Mapping[str, float]], cases: Sequence[Case]) -> Line:
    found: Line = {name: [round(row[name], 5) for row in rows] for name in (rows[0] if rows else {})}
    return found | {"index": [case.index for case in cases]}


def summarise_maps(
    films: FilmSet, columns: Mapping[str, Line], reference: str | None = None
) -> dict[str, dict[str, Any]]:
    """Means and intervals by patient, and differences from one of the maps on the films that both have.

    Args:
        films: all of them.
        columns: figures of cases, by the name of the map.
        reference: name of a map that all others are compared with.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, column in columns.items():
        order = np.argsort(column["index"], kind="stable")
        patients = _patients(films, np.asarray(column["index"])[order])
        found[name] = {"films": len(order)}
        for metric in column.keys() - {"index"}:
            values = np.asarray(column[metric])[order]
            found[name][metric] = asdict(mean_by_patient(values, patients))
            other = columns.get(reference or "")
            if other is not None and name != reference and sorted(other["index"]) == sorted(column["index"]):
                others = np.asarray(other[metric])[np.argsort(other["index"], kind="stable")]
                found[name][f"{metric} less {reference}"] = asdict(mean_difference(values, others, patients))
    return found


def _patients(films: FilmSet, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Films that were made count as patients of their own."""
    return np.where(index >= 0, films.patients[index], -1 - np.arange(len(index)))
