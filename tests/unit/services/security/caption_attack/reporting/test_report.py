"""Report, advice and page out of findings, without any captioner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.campaigns.progress import Reached
from services.security.caption_attack.pictures.distances import decode_png
from services.security.caption_attack.reporting.advice import advise
from services.security.caption_attack.reporting.charts import attention_picture, compare_side_by_side, curve_chart
from services.security.caption_attack.reporting.findings import (
    DefenceView,
    DistancesView,
    PictureView,
    RunView,
    ScoreAt,
)
from services.security.caption_attack.reporting.report import AttackReport, TargetView, build_report
from services.security.caption_attack.reporting.report_page import report_page

OPTIONS = AttackOptions(
    model=None,
    endpoint=None,
    guide=None,
    beams=1,
    most_words=20,
    goal="content_lost",
    target=None,
    arms=("A", "C", "N"),
    queries=100,
    budget=None,
    pixels_percent=1.0,
    bound=40,
    first_seed=0,
    seeds=1,
    stop_at_goal=True,
    defences=("jpeg_75",),
    probes=3,
    longest_side=256,
)
TARGET = TargetView(kind="model", name=None, owner=None, model=None, encoder=None, guide=None)


def run(picture: int, arm: str, *, after: int | None = None, score: float = 0.5, **changed: Any) -> RunView:
    """A run that reached its goal after so many queries, or did not."""
    found = [] if after is None else [("content_lost", Reached(queries=after, score=score, captions=("a cat",)))]
    values: dict[str, Any] = {
        "picture": picture,
        "arm": arm,
        "seed": 0,
        "guided": arm == "A",
        "pixels": 10,
        "bound": 40,
        "success": after is not None,
        "reached": dict(found),
        "clean_score": 1.0,
        "score": score,
        "clean": ["a <b>dog</b>"],
        "captions": ["a cat"],
        "distances": DistancesView(l0=7, linf=31, l2=100.0, psnr_db=30.0, ssim=0.9),
        "curve": [ScoreAt(queries=1, score=1.0)],
        "queries": after or 100,
        "spent": after or 100,
        "generations": 3,
        "ended": "success" if after else "budget",
        "defences": [],
    }
    return RunView.model_validate(values | changed)


def picture(index: int, **changed: Any) -> PictureView:
    values = {"height": 8, "width": 9, "clean": ["a <b>dog</b>"] * 3, "deterministic": True, "guided": True}
    return PictureView.model_validate({"index": index} | values | changed)


def report_of(*runs: RunView, **changed: Any) -> AttackReport:
    asked: dict[str, Any] = {
        "target": TARGET,
        "options": OPTIONS,
        "pictures": [picture(index) for index in sorted({one.picture for one in runs})],
        "runs": runs,
        "stopped": None,
        "budget": 1000,
        "spent": 500,
    }
    report = build_report(**(asked | changed))
    report.advice = advise(report)
    return report


def test_rates_medians_and_curves_are_those_of_the_runs() -> None:
    report = report_of(
        run(0, "A", after=10, score=0.0),
        run(0, "C"),
        run(1, "A", after=30, score=0.2),
        run(1, "C", after=90, score=0.4),
    )
    a, c = report.arms
    assert (a.arm, a.goal.successes, a.goal.runs, a.median_queries) == ("A", 2, 2, 20.0)
    assert (c.goal.rate, c.median_queries) == (0.5, 90.0)
    assert c.score == pytest.approx(0.45)
    at = dict(a.success_curve)
    assert (at[1], at[max(q for q in at if q < 30)], at[100]) == (0.0, 0.5, 1.0)
    (difference,) = report.differences
    assert (difference.first, difference.second, difference.pictures) == ("A", "C", 2)
    assert difference.mean == pytest.approx(0.1 - 0.45)
    assert difference.certain == (difference.high is not None and difference.high < 0)


def test_a_filter_is_judged_by_successes_and_by_pictures() -> None:
    def behind(*, reached: bool, differs: bool) -> DefenceView:
        return DefenceView(
            defence="jpeg_75", clean=["a dog"], changed=["a dog"], clean_score=1.0, changed_score=0.5,
            clean_differs=differs, goal_reached=reached,
        )  # fmt: skip

    report = report_of(
        run(0, "A", after=10, defences=[behind(reached=False, differs=True)]),
        run(0, "C", after=20, defences=[behind(reached=False, differs=True)]),
        run(1, "A", after=10, defences=[behind(reached=True, differs=False)]),
        run(1, "C", defences=[behind(reached=True, differs=False)]),
    )
    (filtered,) = report.defences
    assert (filtered.tried, filtered.pictures, filtered.clean_changed) == (4, 2, 1)
    assert (filtered.successes, filtered.remaining) == (3, 1), "what was no success without it is none behind it"
    assert any("jpeg_75" in line and "2 of 3 successes" in line for line in report.advice)


def test_advice_follows_from_the_numbers() -> None:
    nothing = report_of(run(0, "A"), run(0, "C"))
    assert "No run reached the goal within 100 queries" in nothing.advice[0]
    assert not any("Train on what was found" in line for line in nothing.advice)
    noisy = report_of(run(0, "A"), run(0, "N", after=3))
    assert any("plain noise" in line for line in noisy.advice)
    assert not any("plain noise" in line for line in nothing.advice)
    helped = report_of(*(run(index, "A", after=5, score=0.1) for index in range(5)), *(run(i, "C") for i in range(5)))
    assert any("attention maps shown to strangers help" in line for line in helped.advice)
    hurt = report_of(*(run(index, "C", after=5, score=0.1) for index in range(5)), *(run(i, "A") for i in range(5)))
    assert any("did not help here" in line for line in hurt.advice)
    assert "no run came far enough" in report_of(pictures=[]).advice[0]


def test_notes_say_what_must_be_known() -> None:
    unguided = report_of(run(0, "A", guided=False), pictures=[picture(0, guided=False, deterministic=False)])
    assert any("No attention was at hand for A" in note for note in unguided.notes)
    assert any("different things of the same picture" in note for note in unguided.notes)
    plain = report_of(run(0, "A"))
    assert not any("No attention" in note or "different things" in note for note in plain.notes)


def test_the_page_holds_everything_and_escapes_what_captioners_say() -> None:
    report = report_of(run(0, "A", after=10), run(0, "C"), stopped="It was cancelled.")
    chart = curve_chart(report.arms, goal="content_lost", queries=100)
    page = report_page(report, curve=chart, pictures={0: [(b"PNG", "clean: a <b>dog</b>")]}).decode()
    assert "a &lt;b&gt;dog&lt;/b&gt;" in page
    assert "<b>dog" not in page
    assert "Not complete." in page
    assert "<svg" in page
    assert "UE5H" in page, "the picture in Base64"
    assert report_page(report_of(pictures=[]), curve=None, pictures={})


def test_attention_is_shown_where_it_is() -> None:
    grey = np.full((8, 9, 3), 100, np.uint8)
    maps = np.zeros((2, 2, 3))
    maps[:, 0, 0] = 1
    shown = attention_picture(grey, maps)
    assert shown is not None
    assert shown.shape == grey.shape
    assert shown[0, 0].sum() > shown[-1, -1].sum()
    assert attention_picture(grey, None) is None


def test_pictures_stand_side_by_side() -> None:
    clean = np.zeros((5, 6, 3), np.uint8)
    changed = clean.copy()
    changed[2, 3, 1] = 9
    shown = decode_png(compare_side_by_side(clean, changed))
    assert shown.shape == (5, 3 * 6 + 2 * 4, 3)
    np.testing.assert_array_equal(shown[:, :6], clean)
    np.testing.assert_array_equal(shown[:, 10:16], changed)
