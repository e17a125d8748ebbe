"""Attention: priors, Grad-CAM, cases on both grids, and comparisons on the films that two maps share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.attention import (
    Case,
    box_mask,
    box_prior,
    boxed_cases,
    centre_prior,
    class_evidence,
    inserted_cases,
    mean_prior,
    measure_model,
    measure_model_on_boxes,
    measure_prior,
    measure_priors_on_boxes,
    measure_priors_on_targets,
    summarise_maps,
    uniform,
    without_bars,
)
from services.medical.chest_xray.evaluation.film_set import FOLDS, SIZE, FilmSet
from services.medical.chest_xray.evaluation.subjects import OnnxFilms, OnnxSubject
from services.medical.chest_xray.films import prepare_film

SPOT = (190, 70)


def toy_inserted(split: str, count: int, seed: int) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Films with a bright spot between bars, at which the observer looks."""
    random, made = np.random.default_rng([seed, len(split)]), []
    for _ in range(count):
        film = np.zeros(SIZE, np.float32)
        film[32:288] = random.uniform(0.1, 0.3, (256, 256))
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        density = np.exp(-((rows - SPOT[0]) ** 2 + (columns - SPOT[1]) ** 2) / 200).astype(np.float32)
        density[:32] = density[288:] = 0
        made.append((np.maximum(film, density), density / density.sum()))
    return made


def test_boxes_are_pixels_whose_centre_they_hold() -> None:
    mask = box_mask([(0.25, 0.5, 0.5, 0.25)], (8, 4))
    assert mask[4:6, 1:3].all()
    assert mask.sum() == 4
    assert not box_mask([], (8, 4)).any()


def test_priors_lie_on_the_film_and_sum_to_one() -> None:
    prepared = prepare_film(np.random.default_rng(0).random((100, 200)).astype(np.float32), SIZE)
    for prior in (uniform, centre_prior):
        found = prior(prepared)
        assert found.sum() == pytest.approx(1, abs=1e-4)
        assert not found[: prepared.top].any()
    assert np.ptp(uniform(prepared)[prepared.top : prepared.top + prepared.height]) < 1e-7
    centre = centre_prior(prepared)
    assert divmod(int(centre.argmax()), SIZE[1]) in {(row, column) for row in (159, 160) for column in (127, 128)}
    one, other = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    one[0, 0] = other[1, 1] = 1
    assert mean_prior([one, other])(prepared)[0, 0] == 0.5


def test_grad_cam_is_of_the_likelier_abnormal_class_and_rectified() -> None:
    evidence = np.arange(12, dtype=np.float32).reshape(3, 2, 2) - 8
    logits = np.array([9.0, -1.0, 2.0], np.float32)
    assert class_evidence(evidence, logits).tolist() == [[0, 1], [2, 3]]
    assert class_evidence(evidence, logits[[0, 2, 1]]).tolist() == [[1, 1], [1, 1]], "nothing is left: says nothing"


def test_bars_of_a_film_on_the_networks_grid_are_found() -> None:
    film, _ = toy_inserted("test", 1, 0)[0]
    prepared = without_bars(film)
    assert (prepared.top, prepared.left, prepared.height, prepared.width) == (32, 0, 256, 256)
    assert without_bars(np.zeros((4, 3), np.float32)).film_shape == (4, 3)


def test_a_perfect_map_is_perfect_and_the_mean_beats_the_centre() -> None:
    cases = inserted_cases(toy_inserted, "test", 3, 0, SIZE)
    for case in cases:
        assert case.target is not None
        found = case.figures(case.target)
        assert found["KL"] == pytest.approx(0, abs=1e-4)
        assert found["CC"] == pytest.approx(1, abs=1e-4)
        assert found["HS"] == pytest.approx(1, abs=1e-3)
    figures = dict(measure_priors_on_targets(cases, inserted_cases(toy_inserted, "train", 3, 0, SIZE)))
    mean, centre, flat = (figures[name] for name in ("mean of training densities", "centre", "uniform"))
    assert np.mean(mean["CC"]) == pytest.approx(1, abs=1e-3)
    assert np.mean(mean["KL"]) < np.mean(centre["KL"])
    assert 0 < np.mean(flat["CC"]) < 0.1, "it knows the bars, and nothing else"


def test_films_of_another_size_are_prepared_with_their_densities() -> None:
    def large(split: str, count: int, seed: int) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        film = np.random.default_rng(seed).random((512, 512)).astype(np.float32)
        density = np.zeros((512, 512), np.float32)
        density[100, 200] = 1
        return [(film, density)]

    (case,) = inserted_cases(large, "test", 1, 0, SIZE)
    assert case.target is not None
    assert divmod(int(case.target.argmax()), SIZE[1]) == (32 + 50, 100)
    assert case.target.sum() == pytest.approx(1, abs=1e-4)


def test_boxes_of_both_kinds_are_read_on_the_films_grid(films: FilmSet) -> None:
    cases = boxed_cases(films, np.ones(len(films), bool), SIZE)
    assert len(cases) == 10 + 20
    for case in cases:
        assert case.boxes is not None
        assert case.boxes.shape == (64, 64)
        assert case.boxes[38:48, 14:24].all()
        assert case.boxes.sum() == 100


def test_a_model_that_looks_at_the_spot_hits_the_box_and_priors_do_not(films: FilmSet, model_file: Path) -> None:
    subject = OnnxSubject("toy", str(model_file))
    found = measure_model_on_boxes(films, subject)
    assert set(found) == {"attention", "Grad-CAM"}
    assert np.mean(found["attention"]["pointing game"]) == 1
    assert np.mean(found["attention"]["AUC-Judd"]) > 0.9
    priors = dict(measure_priors_on_boxes(films, SIZE))
    assert np.mean(priors["uniform"]["test"]["pointing game"]) == pytest.approx(100 / 4096, abs=1e-5)
    assert np.mean(priors["uniform"]["test"]["AUC-Judd"]) == pytest.approx(0.5)
    assert np.mean(priors["centre"]["folds"]["pointing game"]) == 0
    assert np.mean(priors["mean of training boxes"]["folds"]["energy in box"]) > 0.9, "all boxes are at one place here"


def test_folds_are_measured_by_the_model_without_them(films: FilmSet, model_file: Path, tmp_path: Path) -> None:
    for fold in range(FOLDS):
        (tmp_path / f"toy-{fold}.onnx").write_bytes(model_file.read_bytes())
    found = measure_model_on_boxes(films, OnnxSubject("folds", str(tmp_path / "toy-{fold}.onnx")))
    everything = boxed_cases(films, np.ones(len(films), bool), SIZE)
    assert sorted(found["attention"]["index"]) == [case.index for case in everything]
    whole = measure_model(everything, OnnxFilms(model_file))
    order = np.argsort(found["attention"]["index"])
    assert np.array(found["attention"]["AUC-Judd"])[order] == pytest.approx(whole["attention"]["AUC-Judd"])


def test_maps_are_compared_where_both_have_the_same_films(films: FilmSet) -> None:
    columns = {
        "prior": {"AUC-Judd": [0.5, 0.6, 0.7], "index": [4, 2, 9]},
        "map": {"AUC-Judd": [0.8, 0.9, 0.7], "index": [9, 4, 2]},
        "elsewhere": {"AUC-Judd": [0.8], "index": [1]},
    }
    found = summarise_maps(films, columns, "prior")
    assert found["map"]["AUC-Judd less prior"]["value"] == pytest.approx((0.4 + 0.1 + 0.1) / 3)
    assert "AUC-Judd less prior" not in found["elsewhere"]
    assert found["map"]["films"] == 3


def test_a_prior_of_boxes_is_their_mean(films: FilmSet) -> None:
    cases = boxed_cases(films, films.of("train"), SIZE)
    found = box_prior(cases)(cases[0].prepared)
    assert found.sum() == pytest.approx(1, abs=1e-4)
    assert np.mean(measure_prior(cases, box_prior(cases))["energy in box"]) > 0.9


def test_a_case_needs_a_target_or_boxes() -> None:
    with pytest.raises(AssertionError):
        Case(prepare_film(np.eye(8, dtype=np.float32), (8, 8)), 0).figures(np.ones((8, 8), np.float32))
