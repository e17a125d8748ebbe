"""Scores of films on two footings, and the figures that follow from them.

Fixed split: trained on the training split, measured on the test split, the validation split for temperatures alone.
Few films of the test split were seen by radiologists. Cross-validation: five folds by patient over all films, each
scored by what was trained on the other four; pairs are compared within folds. It is for what is cheap to train, or has
been trained five times. Nothing is chosen by either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.film_set import FOLDS, FilmSet
from services.medical.chest_xray.evaluation.perturbations import ORIGINAL
from services.medical.chest_xray.evaluation.subjects import Scores, Subject
from services.medical.chest_xray.patient_statistics import (
    Ranking,
    brier_score,
    calibration_error,
)
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.training.heads.linear_heads import probabilities
from services.medical.chest_xray.training.heads.temperatures import fit_temperature

FIXED: Final = "fixed split"
CROSS_VALIDATED: Final = "cross-validation"
VIEWS: Final = ("AP", "PA")
MARKED: Final = "markers drawn"

Line = dict[str, Any]
Lines = Mapping[str, Any]


def score_fixed_split(films: FilmSet, subject: Subject) -> Line:
    """Scores of the validation split as it is and of the test split as each variant, rounded, by variant."""
    train, test = films.of("train"), films.of("test")
    found = {variant: _stored(subject.score(films, train, test, variant)) for variant in subject.variants}
    return {"validation": _stored(subject.score(films, train, films.of("val"), ORIGINAL)), "test": found}


def score_folds(films: FilmSet, subject: Subject) -> Line:
    """Scores of all films as they are, and of the opacity in those that radiologists have seen as each variant."""
    whole: dict[str, dict[str, NDArray[np.float64]]] = {}
    for variant in subject.variants:
        opacity, classes = np.zeros(len(films)), np.zeros((len(films), len(CLASSES)))
        for fold in range(FOLDS):
            held_out = films.folds == fold
            wanted = held_out if variant == ORIGINAL else held_out & (films.opacity >= 0)
            found = subject.score(films, ~held_out, wanted, variant)
            opacity[wanted], classes[wanted] = found.opacity, found.classes
        seen = films.opacity >= 0
        whole[variant] = {"opacity": opacity[seen]} | ({"classes": classes} if variant == ORIGINAL else {})
    return {
        "folds": {
            variant: {name: np.round(values, 4).tolist() for name, values in found.items()}
            for variant, found in whole.items()
        }
    }


def _stored(scores: Scores) -> dict[str, Any]:
    return {"opacity": np.round(scores.opacity, 4).tolist(), "classes": np.round(scores.classes, 4).tolist()}


def class_scores(classes: NDArray[np.float64], label: int) -> NDArray[np.float64]:
    """Logit of one class against the others, of scores (n, classes)."""
    others = np.delete(classes, label, axis=1)
    highest = others.max(axis=1)
    summed: NDArray[np.float64] = classes[:, label] - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))
    return summed


class Footing:
    """The films of one of both footings, and tasks on them.

    Args:
        films: all films.
        name: `FIXED` or `CROSS_VALIDATED`.
    """

    def __init__(self, films: FilmSet, name: str) -> None:
        self.name = name
        self._films = films
        self._shown = films.of("test") if name == FIXED else np.ones(len(films), bool)
        self._seen = self._shown & (films.opacity >= 0)

    def opacity(self) -> Ranking:
        """Lung Opacity against the rest, where radiologists have said."""
        return self._ranking(self._seen, self._films.opacity == 1)

    def opacity_counts(self) -> dict[str, int]:
        """Films, films with an opacity and patients of it."""
        patients = len(np.unique(self._films.patients[self._seen]))
        return {
            "films": int(self._seen.sum()),
            "positive": int((self._films.opacity[self._seen] == 1).sum()),
            "patients": patients,
        }

    def opacity_scores(self, stored: Mapping[str, Any]) -> NDArray[np.float64]:
        """Of the films of `opacity`, out of what was stored of a variant."""
        scores = np.asarray(stored["opacity"])
        return scores[self._seen[self._shown]] if self.name == FIXED else scores

    def text_mined(self, label: int, view: str | None) -> tuple[NDArray[np.bool_], Ranking]:
        """A class against the others, in all films or those of a view, and which of the shown films these are."""
        wanted = self._shown if view is None else self._shown & (self._films.views == view)
        return wanted[self._shown], self._ranking(wanted, self._films.labels == label)

    def labels(self) -> NDArray[np.int64]:
        """Text-mined classes of all films of this footing."""
        found: NDArray[np.int64] = self._films.labels[self._shown]
        return found

    def _ranking(self, wanted: NDArray[np.bool_], positive: NDArray[np.bool_]) -> Ranking:
        strata = None if self.name == FIXED else self._films.folds[wanted]
        return Ranking(positive[wanted], self._films.patients[wanted], strata)


def summarise_diagnosis(films: FilmSet, lines: Mapping[str, Lines], reference: str | None) -> Line:
    """Figures of all subjects on one footing.

    Args:
        films: all of them.
        lines: what `score_fixed_split` or `score_folds` gave, by name; of one footing.
        reference: subject that the others are compared with, where it is among them.
    """
    fixed = any("test" in line for line in lines.values())
    footing = Footing(films, FIXED if fixed else CROSS_VALIDATED)
    variants = {name: line["test" if fixed else "folds"] for name, line in lines.items()}
    return {
        "footing": footing.name,
        "opacity_counts": footing.opacity_counts(),
        "reference": reference,
        "opacity": {name: _opacity(footing, variants, name, reference) for name in variants},
        "text_mined": {name: dict(_text_mined(footing, found[ORIGINAL])) for name, found in variants.items()},
        "shortcuts": {name: dict(_shortcuts(footing, found)) for name, found in variants.items() if len(found) > 1},
        "calibration": {name: _calibration(films, footing, line) for name, line in lines.items()} if fixed else {},
    }


def _opacity(footing: Footing, variants: Mapping[str, Any], name: str, reference: str | None) -> Line:
    scores, ranking = footing.opacity_scores(variants[name][ORIGINAL]), footing.opacity()
    found: Line = {"auc": asdict(ranking.auc(scores))}
    if reference is not None and reference in variants and name != reference:
        others = footing.opacity_scores(variants[reference][ORIGINAL])
        found["less_reference"] = asdict(ranking.difference(scores, others))
    return found


def _text_mined(footing: Footing, stored: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Areas by class, then by view; a class that a view lacks is left out."""
    classes = np.asarray(stored["classes"])
    for label, class_name in enumerate(CLASSES):
        areas = {}
        for view in (None, *VIEWS):
            wanted, ranking = footing.text_mined(label, view)
            if 0 < ranking.positive.sum() < len(ranking.positive):
                areas[view or "all"] = asdict(ranking.auc(class_scores(classes[wanted], label))) | {
                    "films": len(ranking.positive),
                    "positive": int(ranking.positive.sum()),
                }
        yield class_name, areas


def _shortcuts(footing: Footing, variants: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Areas on the opacity as each variant, what was lost, and how far scores moved."""
    ranking, before = footing.opacity(), footing.opacity_scores(variants[ORIGINAL])
    spread = max(float(before.std()), 1e-9)
    for variant, stored in variants.items():
        after = footing.opacity_scores(stored)
        yield variant, _compared(ranking, before, after) | {"moved": float(np.abs(after - before).mean() / spread)}
    if MARKED in variants:
        marked = footing.opacity_scores(variants[MARKED])
        for name, where in (("with an opacity", ranking.positive), ("without one", ~ranking.positive)):
            after = np.where(where, marked, before)
            yield f"markers on films {name} alone", _compared(ranking, before, after)


def _compared(ranking: Ranking, before: NDArray[np.float64], after: NDArray[np.float64]) -> Line:
    return {"auc": asdict(ranking.auc(after)), "less_original": asdict(ranking.difference(after, before))}


def _calibration(films: FilmSet, footing: Footing, line: Lines) -> Line:
    """Calibration error and Brier score on the test split as given, with the temperature of the validation split."""
    stored, validation = line["test"][ORIGINAL], line["validation"]
    seen = films.opacity[films.of("val")]
    tasks = {
        "text-mined classes": (
            np.asarray(stored["classes"]),
            footing.labels(),
            np.asarray(validation["classes"]),
            films.labels[films.of("val")],
        ),
        "opacity": (
            _two(footing.opacity_scores(stored)),
            footing.opacity().positive.astype(np.int64),
            _two(np.asarray(validation["opacity"])[seen >= 0]),
            seen[seen >= 0],
        ),
    }
    return {
        name: {
            "temperature": (temperature := fit_temperature(scores_before, labels_before)),
            "as_given": _trust(scores, labels),
            "with_temperature": _trust(scores / temperature, labels),
        }
        for name, (scores, labels, scores_before, labels_before) in tasks.items()
    }


def _two(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.zeros_like(logit), logit], axis=1)


def _trust(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> Line:
    chances = probabilities(scores)
    return {"ece": calibration_error(chances, labels), "brier": brier_score(chances, labels)}
