"""Every loss does what it is for: trained for seconds on generated items, two seeds, beside the plain loss."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from services.uncertainty.conformal.evaluation import evaluate_losses

SEEDS = 2


@cache
def measured(name: str) -> dict[str, Any]:
    return evaluate_losses._measure(evaluate_losses.EXPERIMENTS[name].run, SEEDS)


@pytest.mark.parametrize("name", evaluate_losses.EXPERIMENTS)
def test_coverage_is_kept(name: str) -> None:
    """Whatever was trained, calibration keeps its promise: 0.9, within 4 deviations of one calibration and test set."""
    for figures in measured(name).values():
        assert figures["coverage"]["mean"] == pytest.approx(0.9, abs=4 * 0.0082 / SEEDS**0.5)


@pytest.mark.parametrize(
    ("name", "way", "share"),
    [
        ("small sets", "ConfTr", 0.95),
        ("small sets", "SCPO", 0.92),
        ("small sets", "CD loss", 0.92),
        ("adapted", "C-Adapter", 0.9),
        ("temperatures", "ConfTS", 0.7),
        ("ordinal", "unimodal", 0.97),
        ("widening", "pinball", 0.95),
        ("forked", "R2CCP", 0.8),
    ],
)
def test_sets_are_smaller_than_plain_ones(name: str, way: str, share: float) -> None:
    assert measured(name)[way]["relative"]["high"] < share


def test_ordinal_sets_have_no_holes() -> None:
    found = measured("ordinal")
    assert found["unimodal"]["with holes"]["mean"] == 0 < found["plain"]["with holes"]["mean"]


def test_items_that_cannot_be_told_are_covered_more() -> None:
    found = measured("hard items")
    plain, aware = (found[way]["hard"]["mean"] for way in ("cross entropy", "uncertainty-aware"))
    assert plain < 0.75
    assert aware > plain + 0.05


def test_section_of_the_report() -> None:
    found = {name: measured(name) for name in evaluate_losses.EXPERIMENTS}
    record = {"seeds": SEEDS, "experiments": found}
    json.dumps(record, allow_nan=False)
    page = "\n".join(evaluate_losses.render(record))
    assert page.count("| ConfTr |") == page.count("| unimodal |") == 1
    assert len(evaluate_losses.findings(record)) == 2


def test_another_run_gives_the_same_figures() -> None:
    run = evaluate_losses.EXPERIMENTS["ordinal"].run
    assert run(0) == run(0)
