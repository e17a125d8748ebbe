"""Scores on both footings: who is trained on what, tasks and films, shortcuts and calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, logit, softmax
from sklearn.metrics import roc_auc_score

from services.medical.chest_xray.evaluation.diagnosis import (
    CROSS_VALIDATED,
    FIXED,
    MARKED,
    Footing,
    class_scores,
    score_fixed_split,
    score_folds,
    summarise_diagnosis,
)
from services.medical.chest_xray.evaluation.film_set import FOLDS, FilmSet
from services.medical.chest_xray.evaluation.perturbations import ORIGINAL
from services.medical.chest_xray.evaluation.subjects import (
    FeatureSubject,
    OnnxSubject,
    Scores,
    baselines,
    read_models,
)

Mask = NDArray[np.bool_]


class Telling(FeatureSubject):
    """Features that tell the opacity, and notes what it was trained on and asked."""

    def __init__(self, variants: tuple[str, ...] = (ORIGINAL,)) -> None:
        super().__init__("telling", _brightness, variants, "1", inverse_penalties=(0.1,))
        self.asked: list[tuple[Mask, Mask]]
        object.__setattr__(self, "asked", [])

    def score(self, films: FilmSet, train: Mask, wanted: Mask, variant: str) -> Scores:
        self.asked.append((train, wanted))
        return super().score(films, train, wanted, variant)


def _brightness(films: FilmSet, variant: str) -> NDArray[np.float64]:
    random = np.random.default_rng(len(variant))
    shift = 5.0 * (variant == MARKED)
    return films.labels[:, None] + random.normal(0, 0.3, (len(films), 2)) + shift


def test_logits_of_a_class_are_those_of_its_probability() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (20, 3))
    for label in range(3):
        wanted = logit(softmax(scores, axis=1)[:, label])
        assert class_scores(scores, label) == pytest.approx(wanted)
        assert class_scores(log_softmax(scores, axis=1), label) == pytest.approx(wanted)


def test_fixed_split_trains_on_the_training_split_alone(films: FilmSet) -> None:
    subject = Telling()
    line = score_fixed_split(films, subject)
    assert all(np.array_equal(train, films.of("train")) for train, _ in subject.asked)
    assert [wanted.sum() for _, wanted in subject.asked] == [films.of("test").sum(), films.of("val").sum()]
    assert len(line["test"][ORIGINAL]["opacity"]) == films.of("test").sum()


def test_folds_are_scored_by_what_has_not_seen_their_patients(films: FilmSet) -> None:
    subject = Telling((ORIGINAL, MARKED))
    line = score_folds(films, subject)
    assert len(subject.asked) == 2 * FOLDS
    for train, wanted in subject.asked:
        assert not set(films.patients[train]) & set(films.patients[wanted])
    assert np.sum([wanted for _, wanted in subject.asked[:FOLDS]], axis=0).tolist() == [1] * len(films)
    seen = int((films.opacity >= 0).sum())
    assert len(line["folds"][MARKED]["opacity"]) == seen < len(films)
    assert "classes" not in line["folds"][MARKED]


def test_areas_are_of_the_right_films_and_views(films: FilmSet) -> None:
    lines = {"telling": score_fixed_split(films, Telling())}
    found = summarise_diagnosis(films, lines, None)
    test = np.flatnonzero(films.of("test"))
    classes = np.array(lines["telling"]["test"][ORIGINAL]["classes"])
    for view in ("AP", "PA"):
        chosen = films.views[test] == view
        wanted = roc_auc_score(films.labels[test][chosen] == 2, class_scores(classes[chosen], 2))
        stated = found["text_mined"]["telling"]["pneumonia"][view]
        assert stated["value"] == pytest.approx(wanted)
        assert (stated["films"], stated["positive"]) == (chosen.sum(), (films.labels[test][chosen] == 2).sum())
    seen = films.opacity[test] >= 0
    opacity = np.array(lines["telling"]["test"][ORIGINAL]["opacity"])[seen]
    wanted = roc_auc_score(films.opacity[test][seen], opacity)
    assert found["opacity"]["telling"]["auc"]["value"] == pytest.approx(wanted)
    assert found["opacity_counts"] == {"films": 4, "positive": 2, "patients": 4}


def test_others_are_compared_with_the_reference(films: FilmSet) -> None:
    telling, view = Telling(), replace(baselines(Path("unused"))[0], inverse_penalties=(0.1,))
    lines = {"view only": score_folds(films, view), "telling": score_folds(films, telling)}
    found = summarise_diagnosis(films, lines, "view only")
    assert found["footing"] == CROSS_VALIDATED
    areas = {name: one["auc"]["value"] for name, one in found["opacity"].items()}
    assert areas["telling"] > 0.95
    assert found["opacity"]["telling"]["less_reference"]["value"] == pytest.approx(
        areas["telling"] - areas["view only"]
    )
    assert "less_reference" not in found["opacity"]["view only"]
    assert not found["calibration"]


def test_markers_on_one_kind_of_film_alone_pull_areas_apart(films: FilmSet) -> None:
    found = summarise_diagnosis(films, {"telling": score_folds(films, Telling((ORIGINAL, MARKED)))}, None)
    shortcuts = found["shortcuts"]["telling"]
    assert shortcuts[ORIGINAL]["moved"] == 0
    assert shortcuts[MARKED]["moved"] > 1, "marks move every score"
    assert shortcuts["markers on films with an opacity alone"]["auc"]["value"] == 1
    assert shortcuts["markers on films without one alone"]["auc"]["value"] < 0.2
    less = shortcuts["markers on films without one alone"]["less_original"]
    assert less["value"] < -0.7


def test_temperatures_are_of_the_validation_split(films: FilmSet) -> None:
    line = score_fixed_split(films, Telling())
    hot = {"validation": line["validation"], "test": line["test"]}
    found = summarise_diagnosis(films, {"telling": hot}, None)["calibration"]["telling"]
    for figures in found.values():
        assert figures["temperature"] > 0
        assert set(figures["as_given"]) == {"ece", "brier"}
    doubled = {
        part: {"opacity": (3 * np.array(one["opacity"])).tolist(), "classes": (3 * np.array(one["classes"])).tolist()}
        for part, one in (("validation", line["validation"]), ("test", line["test"][ORIGINAL]))
    }
    sharp = {"validation": doubled["validation"], "test": {ORIGINAL: doubled["test"]}}
    other = summarise_diagnosis(films, {"telling": sharp}, None)["calibration"]["telling"]["text-mined classes"]
    assert other["with_temperature"]["brier"] == pytest.approx(
        found["text-mined classes"]["with_temperature"]["brier"], abs=1e-3
    )


def test_a_model_gives_the_scores_of_its_outputs(films: FilmSet, model_file: Path) -> None:
    subject = OnnxSubject("toy", str(model_file))
    found = summarise_diagnosis(films, {"toy": score_fixed_split(films, subject)}, None)
    assert found["footing"] == FIXED
    assert found["opacity"]["toy"]["auc"]["value"] == 1, "it looks where the opacity is"
    shortcuts = found["shortcuts"]["toy"]
    assert shortcuts["gamma 1.5"]["auc"]["value"] == 1
    assert shortcuts["middle blanked"]["auc"]["value"] < 1, "the opacity is in the middle"


def test_models_of_folds_never_score_what_they_were_trained_on(
    films: FilmSet, model_file: Path, tmp_path: Path
) -> None:
    for fold in range(FOLDS):
        (tmp_path / f"toy-{fold}.onnx").write_bytes(model_file.read_bytes())
    (subject,) = read_models([f"folds={tmp_path}/toy-{{fold}}.onnx"])
    assert subject.cross_validated
    assert not subject.once_trained
    whole = np.ones(len(films), bool)
    with pytest.raises(ValueError, match="one fold"):
        subject.score(films, ~whole, whole, ORIGINAL)
    with pytest.raises(ValueError, match="one fold"):
        subject.score(films, whole, films.folds == 0, ORIGINAL)
    found = subject.score(films, films.folds != 2, films.folds == 2, ORIGINAL)
    assert len(found.opacity) == (films.folds == 2).sum()


def test_models_are_named_with_their_file() -> None:
    for wrong in ("model.onnx", "=model.onnx", "name="):
        with pytest.raises(ValueError, match="NAME=path"):
            read_models([wrong])


def test_a_footing_has_the_films_that_it_says(films: FilmSet) -> None:
    fixed, whole = Footing(films, FIXED), Footing(films, CROSS_VALIDATED)
    assert len(fixed.labels()) == films.of("test").sum()
    assert len(whole.labels()) == len(films)
    assert whole.opacity().strata is not None
    assert fixed.opacity().strata is None
