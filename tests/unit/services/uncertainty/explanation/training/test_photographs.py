"""The page about photographs comes from its figures, which meet what is said of them; and how they are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.uncertainty.explanation.methods import Method
from services.uncertainty.explanation.training.photographs import (
    Photograph,
    _mosaics,
    _square,
    _sums,
    open_explainer,
    read_photographs,
)
from services.uncertainty.explanation.training.photographs_report import EVALUATION, REPORT, render
from shared.datasets.photos import FOLDER, SUBJECTS
from shared.settings import get_settings


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EVALUATION.read_text(encoding="utf-8"))
    return found


def test_the_page_is_that_of_the_figures(record: dict[str, Any]) -> None:
    assert REPORT.read_text(encoding="utf-8") == render(record)


def test_what_is_said_holds(record: dict[str, Any]) -> None:
    srd = record["sums"]["srd"]
    assert srd["median"] == pytest.approx(1, abs=1e-3)
    assert srd["largest_error"] < 5e-3
    assert record["sums"]["lrp-z-plus"]["median"] < 0.5, "most is lost to biases"
    shares = record["mosaics"]["localisation"]
    assert shares["random"]["mean"] == pytest.approx(0.25, abs=0.01)
    assert shares["srd-contrast"]["low"] > 0.25


def test_a_square_has_its_quarters_in_reading_order() -> None:
    quarters = [np.full((3, 2, 2), number, np.float32) for number in range(4)]
    assert _square(quarters)[0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_measured_on_drawn_pictures() -> None:
    """One mosaic of noise: every method has a figure, and sharing ratios add up."""
    _, explainer = open_explainer(threads=1)
    random = np.random.default_rng(0)
    photographs = [
        Photograph(
            random.random((3, 224, 224), dtype=np.float32), random.random((3, 112, 112), dtype=np.float32), label
        )
        for label in (3, 5, 7, 11)
    ]
    found = _mosaics(explainer, photographs, 1)
    assert set(found["pointing"]) == {method.value for method in Method} - {"integrated-gradients"}
    assert 0.2 < found["localisation"]["random"]["mean"] < 0.3
    sums = _sums(explainer, photographs[:1])
    assert sums["srd"]["median"] == pytest.approx(1, abs=5e-3)


def test_the_photographs_are_those_that_are_named_first() -> None:
    data = Path(get_settings().data)
    if not (data / FOLDER).is_dir():
        pytest.skip("the photographs are not here; FACET_DATA names their folder")
    card, explainer = open_explainer(threads=1)
    found = read_photographs(data, card, explainer)
    names = card.parameters["classes"]
    assert isinstance(names, list)
    known = {name for right in SUBJECTS.values() for name in right}
    assert len(found) >= 15
    assert {names[one.label] for one in found} <= known
    assert found[0].quarter.shape == (3, 112, 112)
