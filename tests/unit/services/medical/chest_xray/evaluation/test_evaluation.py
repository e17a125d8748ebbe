"""The whole evaluation on drawn films: lines that are not computed twice, figures, and the page of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation import __main__ as command
from services.medical.chest_xray.evaluation import refusals, subjects
from services.medical.chest_xray.evaluation.experiments import Plan
from services.medical.chest_xray.evaluation.figures import summarise
from services.medical.chest_xray.evaluation.film_set import FilmSet
from services.medical.chest_xray.evaluation.latency import measure_latency
from services.medical.chest_xray.evaluation.report import write_report
from services.medical.chest_xray.evaluation.subjects import (
    CachedFeatures,
    FeatureSubject,
    OnnxFilms,
    read_models,
)
from services.medical.chest_xray.training.other_pictures import Source
from services.medical.chest_xray.training.screening import SIZE, ScreeningHead, append_frontal
from shared.result_lines import read_lines
from tests.unit.services.medical.chest_xray.evaluation.test_attention import toy_inserted


def dark(source: Source) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Pictures of nothing."""
    for number in range(4):
        yield number, np.zeros((40, 40), np.float32)


def one_feature(films: FilmSet, variant: str) -> NDArray[np.float64]:
    """The view."""
    return np.array([[float(view == "PA")] for view in films.views])


@pytest.fixture
def whole_model(tmp_path: Path, model_file: Path) -> Path:
    """A model with all outputs; whatever is drawn here is a film to it."""
    head = ScreeningHead(np.zeros(1600, np.float32), 1.0, 0.5)
    onnx.save_model(append_frontal(onnx.load_model(model_file), head), tmp_path / "whole.onnx")
    return tmp_path / "whole.onnx"


def test_lines_are_written_once_and_become_a_page(
    data: Path, tmp_path: Path, whole_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = FeatureSubject("view only", one_feature, ("original",), "1", inverse_penalties=(0.1,))
    monkeypatch.setattr("services.medical.chest_xray.evaluation.experiments.baselines", lambda cache: [view])
    monkeypatch.setattr(refusals, "SEEN", {"blank pictures": dark})
    monkeypatch.setattr(refusals, "UNSEEN", {"garments": dark})
    monkeypatch.setattr(command, "inserted_films", lambda data, cache: toy_inserted)
    model = replace(read_models([f"toy={whole_model}"])[0], variants=("original", "markers drawn"))
    monkeypatch.setattr(command, "read_models", lambda options: [model])
    for name, count in (("experiments.INSERTED", 3), ("attention.TRAINING_MAPS", 3), ("latency.ROUNDS", 2)):
        monkeypatch.setattr(f"services.medical.chest_xray.evaluation.{name}", count)
    monkeypatch.setattr(command, "FIGURES", tmp_path / "figures.json")
    page = tmp_path / "report.md"
    monkeypatch.setattr(command, "write_report", lambda figures: write_report(figures, page))
    options = [
        f"--data={data}",
        f"--out={tmp_path / 'runs.jsonl'}",
        f"--cache={tmp_path}",
        f"--model=toy={whole_model}",
    ]
    monkeypatch.setattr(command, "Plan", partial(Plan, head=tmp_path / "no-head.npz"))
    command.main(["all", *options])
    lines = read_lines(tmp_path / "runs.jsonl")
    parts = {(line["part"], line["subject"]) for line in lines}
    assert parts == {
        ("fixed split", "view only"), ("cross-validation", "view only"), ("fixed split", "toy"),
        ("boxes of priors", "priors"), ("inserted findings of priors", "priors"), ("boxes of test", "toy"),
        ("inserted findings", "toy"), ("screening", "toy"), ("latency", "toy"),
    }  # fmt: skip
    command.main(["all", *options])
    assert read_lines(tmp_path / "runs.jsonl") == lines, "nothing is left to do"
    check_figures(json.loads((tmp_path / "figures.json").read_text()))
    check_page(page.read_text())


def check_figures(figures: dict[str, Any]) -> None:
    assert figures["films"]["all"] == 60
    assert figures["screening"]["toy"]["kinds"]["films"]["share"] == 1
    assert figures["screening"]["toy"]["unseen"] == ["garments"]
    assert figures["boxes"]["test"]["toy, attention"]["pointing game"]["value"] == 1
    assert "toy, attention" not in figures["boxes"]["folds"]
    assert figures["inserted"]["toy, attention"]["films"] == 3
    assert figures["diagnosis"]["cross-validation"]["opacity"].keys() == {"view only"}
    assert figures["latency"]["toy"]["2 threads"]["p50_ms"] > 0


def check_page(page: str) -> None:
    for title in (
        "Lung Opacity against the rest", "Text-mined classes", "Does it look at lungs?", "Calibration",
        "Attention on radiologists' boxes", "Attention on inserted findings", "Refusals", "Latency",
    ):  # fmt: skip
        assert f"## {title}" in page
    assert "*garments*" in page
    assert "nan" not in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.count("|") > 2 for line in tables)


def test_of_several_lines_of_a_subject_the_last_one_counts(films: FilmSet) -> None:
    lines = [{"part": "latency", "subject": "toy", "figures": {"1 thread": {"p50_ms": ms}}} for ms in (5, 7)]
    assert summarise(films, lines)["latency"] == {"toy": {"1 thread": {"p50_ms": 7}}}


def test_a_page_of_nothing_but_counts_can_be_written(films: FilmSet, tmp_path: Path) -> None:
    write_report(summarise(films, []), tmp_path / "report.md")
    assert "60 frontal films of 30 patients" in (tmp_path / "report.md").read_text()


def test_features_are_computed_once_and_of_changed_films_only_where_needed(
    films: FilmSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []

    class Means:
        def __init__(self, graph: object) -> None: ...

        def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            computed.append(len(batch))
            return np.repeat(batch.mean(axis=(1, 2))[:, None], 784, axis=1)

    monkeypatch.setattr(subjects, "FrozenFeatures", Means)
    monkeypatch.setattr(CachedFeatures, "_graph", lambda self, films: None)
    first = CachedFeatures(tmp_path, None)(films, "original")
    again = CachedFeatures(tmp_path, None)(films, "original")
    assert np.array_equal(first, again)
    assert sum(computed) == len(films)
    changed = CachedFeatures(tmp_path, None)(films, "border cropped")
    shown = films.of("test") | (films.opacity >= 0)
    assert np.isfinite(changed).all(axis=1).tolist() == shown.tolist()
    assert sum(computed) == len(films) + shown.sum() < 2 * len(films)


def test_a_model_without_screening_is_refused_where_it_is_asked_for(data: Path, model_file: Path) -> None:
    with pytest.raises(ValueError, match="frontal_threshold"):
        refusals.measure_refusals(data, model_file)


def test_the_threshold_of_the_card_comes_before_that_of_the_file(whole_model: Path) -> None:
    model = OnnxFilms(whole_model)
    assert refusals.threshold_of(whole_model, model) == 0.5
    card = {"parameters": {"chest_xray": {"frontal_threshold": -1.5}}}
    whole_model.with_name("card.json").write_text(json.dumps(card))
    assert refusals.threshold_of(whole_model, model) == -1.5


def test_latency_is_beside_frozen_features(model_file: Path) -> None:
    found = measure_latency(model_file, np.zeros((1, *SIZE), np.float32), threads=1, rounds=2)
    assert found["p95_ms"] >= found["p50_ms"] > 0
    assert found["times_baseline"] > 0


def test_versions_are_digests_of_files(model_file: Path, tmp_path: Path) -> None:
    (one,) = read_models([f"a={model_file}"])
    (tmp_path / "other.onnx").write_bytes(model_file.read_bytes() + b" ")
    (other,) = read_models([f"a={tmp_path / 'other.onnx'}"])
    assert one.version != other.version
    assert len(one.version) == 16
