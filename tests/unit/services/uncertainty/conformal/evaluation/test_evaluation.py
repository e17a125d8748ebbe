from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from services.uncertainty.conformal.evaluation import __main__ as command
from services.uncertainty.conformal.evaluation import evaluate_classification as evaluation
from services.uncertainty.conformal.evaluation import report
from services.uncertainty.conformal.evaluation.reference_comparison.findings import Finding, difference
from services.uncertainty.conformal.methods.coverage_distribution import hits_law
from services.uncertainty.conformal.methods.scores import THR


@pytest.fixture
def items() -> evaluation.Items:
    """600 items of five classes, the best label right in most cases."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 600)
    logits = random.normal(size=(600, 5))
    logits[np.arange(600), labels] += random.exponential(2, 600)
    return evaluation.Items(logits, labels, random.random(600))


def test_figures_are_those_of_the_sets(items: evaluation.Items) -> None:
    found = evaluation.measure_score(THR(), items, splits=3, more=5)
    every = THR().of_all(items.logits)
    own = every[np.arange(600), items.labels]
    coverages, sizes = [], []
    for split in range(3):
        calibration, tests = evaluation.halves(600, split)
        assert sorted([*calibration, *tests]) == list(range(600))
        # 300 calibrate: at alpha 0.1 the threshold is the 271st smallest.
        threshold = np.sort(own[calibration])[270]
        coverages.append((own[tests] <= threshold).mean())
        sizes.append((every[tests] <= threshold).sum(axis=1).mean())
    assert found["0.1"]["coverage"] == pytest.approx(np.mean(coverages))
    assert found["0.1"]["size"] == pytest.approx(np.mean(sizes))
    assert found["0.1"]["expected"] == 271 / 301
    assert found["tied"] == 0


def test_the_law_is_told_from_another(items: evaluation.Items) -> None:
    """Hits of the right level pass, those of a threshold one rank lower in each of many halves do not."""
    random = np.random.default_rng(1)
    law = hits_law(300, "0.1", 300)
    assert evaluation._ks_p_value(law.rvs(2000, random_state=random), "0.1", 600, key=5) > 0.01
    assert evaluation._ks_p_value(law.rvs(2000, random_state=random) - 4.0, "0.1", 600, key=5) < 1e-6


def test_a_section_is_measured_and_the_others_stay(
    items: evaluation.Items, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, page = tmp_path / "evaluation.json", tmp_path / "report.md"
    record.write_text('{"other": {"kept": 1}}')
    for module in (command, report):
        monkeypatch.setattr(module, "EVALUATION", record)
        monkeypatch.setattr(module, "REPORT", page)
    monkeypatch.setattr(evaluation, "read_items", lambda: items)
    monkeypatch.setattr(evaluation, "SPLITS", 4)
    monkeypatch.setattr(evaluation, "CELL_SPLITS", 2)
    monkeypatch.setattr(evaluation, "measure_score", lambda score, given: original(score, given, splits=4, more=6))
    command.main(["evaluate", "classification"])
    written = json.loads(record.read_text())
    assert written["other"] == {"kept": 1}
    assert set(written["classification"]["scores"]) == set(evaluation.SCORES)
    text = page.read_text()
    assert text.startswith("# Conformal prediction, measured")
    assert all(f"| {name} | 0.05 |" in text for name in evaluation.SCORES)
    assert "| APS, RC3P |" in text


original = evaluation.measure_score


def test_the_released_logits_are_read() -> None:
    items = evaluation.read_items()
    assert items.logits.shape == (12_630, 43)
    assert (items.logits.argmax(axis=1) == items.labels).mean() == pytest.approx(0.983, abs=0.001)


def test_the_report_is_that_of_the_figures() -> None:
    record = json.loads(report.EVALUATION.read_text(encoding="utf-8"))
    assert report.REPORT.read_text(encoding="utf-8") == report.render(record)


def test_every_difference_from_other_libraries_has_a_reason() -> None:
    """The published comparison; its numbers are recomputed by make compare-conformal only."""
    record = json.loads(
        (Path(evaluation.__file__).parent / "reference_comparison" / "classification.json").read_text(encoding="utf-8")
    )
    findings = [{key: one[key] for key in ("library", "quantity", "difference", "note")} for one in record["findings"]]
    assert record["compared"] == len(findings) > 100
    for one in (Finding(**found) for found in findings):
        assert one.is_equal or one.note, one.quantity


def test_differences_of_infinities_and_shapes() -> None:
    assert difference([np.inf, 1.0], [np.inf, 1.0]) == 0
    assert difference([np.inf], [1.0]) == np.inf
    assert difference([1.0], [1.0, 2.0]) == np.inf
    assert difference([100.0], [101.0]) == pytest.approx(1 / 101)
