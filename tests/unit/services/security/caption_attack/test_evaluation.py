"""The evaluation: its order, its file of results, its figures and sentences."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from services.security.caption_attack.evaluation import __main__ as command
from services.security.caption_attack.evaluation.experiments import (
    COMPARISONS,
    MAIN,
    QUERIES,
    Experiment,
    Setting,
    experiments,
    setting_of,
)
from services.security.caption_attack.evaluation.report import _parts, judge
from services.security.caption_attack.evaluation.summary import summarise
from shared.datasets.captioned_photos import CaptionedPhotos
from shared.result_lines import open_lines, read_lines, write_line

PEOPLE = [["a dog runs on grass"] * 5, ["two men sit on a bench"] * 5]
PHOTOGRAPHS = CaptionedPhotos([Path("a.jpg"), Path("b.jpg")], PEOPLE)
QUALITY = {"v1": {name: {"value": 0.2, "baseline": 0.1} for name in ("BLEU-4", "CIDEr-D")}}


def test_what_exists_at_any_time_compares_all_searches() -> None:
    planned = list(experiments(("v1", "v2"), photographs=3, seeds=2))
    assert len({one.key for one in planned}) == len(planned)
    main = COMPARISONS[0].arms
    first = planned[: len(main)]
    assert tuple(one.arm for one in first) == main
    assert {(one.photograph, one.seed, one.setting) for one in first} == {(0, 0, MAIN)}
    of_second_seed = [one for one in planned if one.seed == 1]
    assert {(one.victim, one.setting) for one in of_second_seed} == {("v1", MAIN)}
    other = [one for one in planned if one.guide != one.victim]
    assert {(one.victim, one.guide, one.arm, one.setting) for one in other} == {("v2", "v1", "A", MAIN)}
    assert {one.arm for one in planned if one.defended} == {"A", "N", "O"}
    assert {(one.victim, one.arm) for one in planned if one.shown} == {("v1", "A"), ("v2", "A")}


def test_what_a_setting_does_not_change_is_run_once() -> None:
    planned = {(one.arm, one.setting) for one in experiments(("v1",), photographs=1, seeds=1)}
    for comparison in COMPARISONS:
        assert {(arm, setting_of(arm, comparison.setting)) for arm in comparison.arms} <= planned
    assert [setting for arm, setting in planned if arm == "G"] == [MAIN]
    assert {setting for arm, setting in planned if arm == "O"} == {MAIN, Setting(MAIN.percent, 16)}


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    assert read_lines(file) == []
    with open_lines(file) as lines:
        write_line(lines, {"key": "a"})
    file.write_bytes(file.read_bytes() + b'{"key": "b", "sco')
    assert read_lines(file) == [{"key": "a"}]
    with open_lines(file) as lines:
        write_line(lines, {"key": "c"})
        with pytest.raises(RuntimeError, match="another evaluation"), open_lines(file):
            pass
    assert [line["key"] for line in read_lines(file)] == ["a", "c"]


def test_runs_against_other_weights_count_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_weights", {"v1": "sha", "v2": "two"}.__getitem__)
    kept = line("A", 0, 0.2, shown={"v2": {}})
    lines = [kept, line("A", 1, 0.2, shown={}), line("C", 0, 0.2, model="older"), line("A", 0, 0.2, victim="gone")]
    assert command.current(lines, ["v1", "v2"], ["v2"]) == [kept]
    assert command.current(lines, ["v1"], []) == lines[:2]


@pytest.mark.parametrize("failing", [3, command._FAILURES + 1])
def test_runs_that_fail_take_no_other_along_until_there_are_too_many(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = list(experiments(("v1",), photographs=4, seeds=1))[:40]
    broken = {one.key for one in planned[:failing]}

    def run(experiment: Experiment) -> dict[str, Any]:
        return {"key": experiment.key} | ({"failed": "it says nothing"} if experiment.key in broken else {})

    monkeypatch.setattr(command, "_run", run)
    found: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        lines = command._finished(pool, planned, until_s=float("inf"), waiting=4)
        if failing > command._FAILURES:
            with pytest.raises(RuntimeError, match="runs failed"):
                found.extend(one["key"] for one in lines)
        else:
            found.extend(one["key"] for one in lines)
            assert set(found) == {one.key for one in planned} - broken
    assert not broken & set(found)


def test_when_time_is_up_no_further_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_run", lambda one: {"key": one.key})
    planned = list(experiments(("v1",), photographs=1, seeds=1))
    with ThreadPoolExecutor(1) as pool:
        assert list(command._finished(pool, planned, until_s=0.0, waiting=4)) == []


def line(arm: str, photograph: int, score: float, **changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "key": f"{arm}{photograph}",
        "victim": "v1",
        "guide": "v1",
        "arm": arm,
        "setting": {"percent": MAIN.percent, "bound": MAIN.bound},
        "seed": 0,
        "photograph": photograph,
        "clean": PEOPLE[photograph][0],
        "caption": "a cat",
        "score": score,
        "curve": [[1, 1.0]],
        "reached": {"content_lost": 30} if score < 0.5 else {},
        "queries": QUERIES,
        "spent": QUERIES,
        "distances": {"l0": 5, "linf": 40, "l2": 10.0, "psnr_db": 30.0, "ssim": 0.9},
        "model": "sha",
        "seconds": 4.0,
        "machine": "x86_64, 2 cores",
    }
    return values | changed


def figures(*lines: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = summarise(lines, PHOTOGRAPHS, quality=QUALITY)
    json.dumps(found)
    return found


def test_searches_are_compared_where_all_of_them_were_tried() -> None:
    found = figures(
        line("A", 0, 0.2), line("C", 0, 0.8), line("A", 1, 0.0), line("C", 1, 0.6), line("A", 0, 0.1, seed=1)
    )
    main, where = found["victims"]["v1"]["comparisons"]
    assert (main["photographs"], main["seeds"]) == (2, 1), "a seed that only one search had does not count"
    assert main["left_out"] == ["D", "E", "G", "H", "L", "M", "N", "O", "P"]
    assert [one["arm"] for one in where["arms"]] == ["A", "C"]
    a, c = main["arms"]
    assert (a["score"], c["score"]) == (pytest.approx(0.1), pytest.approx(0.7))
    assert c["first_less_this"]["mean"] == pytest.approx(-0.6)
    assert a["goals"]["content_lost"]["successes"] == 2
    assert c["goals"]["content_lost"]["successes"] == 0
    assert a["median_queries"]["content_lost"] == 30
    assert found["queries"] == 5 * QUERIES
    text = "\n".join(_parts(found))
    assert "Attention (A against the same search on any pixels): stronger" in text
    assert "Not measured yet: D, E, G" in text
    assert "Not measured yet: one captioner is released." in text
    assert "| a dog runs on grass | a dog runs on grass | 1.00 |" in text


def test_filters_are_judged_by_the_successes_that_they_leave() -> None:
    behind = {"defence": "jpeg_75", "clean_score": 0.9, "changed_score": 0.7, "clean_differs": True}
    found = figures(
        line("A", 0, 0.2, defences=[{**behind, "goals": []}]),
        line("A", 1, 0.2, defences=[{**behind, "goals": ["content_lost"]}]),
    )
    (filtered,) = found["victims"]["v1"]["defences"]
    assert (filtered["successes"], filtered["remaining"], filtered["pictures"]) == (2, 1, 2)


def test_seeds_of_one_photograph_are_no_further_photographs() -> None:
    (once, *_), (thrice, *_) = (
        figures(*(line("A", 0, 0.2, seed=seed) for seed in range(seeds)), line("A", 1, 0.9))["victims"]["v1"][
            "comparisons"
        ]
        for seeds in (1, 3)
    )
    rates = [one["arms"][0]["goals"]["content_lost"] for one in (once, thrice)]
    assert rates[0]["low"] < rates[1]["low"], "the share is greater"
    assert rates[1]["high"] - rates[1]["low"] > 0.6, "and of two photographs"


def test_another_captioner_is_compared_with_its_own_captions_and_with_a_draw() -> None:
    shown = {"v2": {"clean": "a dog runs on grass", "drawn": "a dog runs on grass", "found": "a man on a bench"}}
    lines = [line("A", 0, 0.2, shown=shown), line("A", 0, 0.5, victim="v2", guide="v2", clean="a dog runs on grass")]
    lines += [line("A", 0, 0.6, victim="v2", guide="v1"), line("C", 0, 0.8, victim="v2", guide="v2")]
    found = figures(*lines)
    (guided,) = found["guidance"]
    assert (guided["runs"], guided["other"], guided["own"], guided["any"]) == (1, 0.6, 0.5, 0.8)
    (seen,) = found["shown"]
    assert (seen["found"]["content_lost"]["successes"], seen["drawn"]["content_lost"]["successes"]) == (1, 0)
    assert seen["drawn"]["score"] == pytest.approx(1.0)
    assert seen["found_less_drawn"]["mean"] == pytest.approx(seen["found"]["score"] - 1.0)
    assert "shown once to v2" in "\n".join(_parts(found))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.2, -0.1, "stronger"), (0.1, 0.2, "weaker"), (-0.1, 0.1, "no difference"), (None, None, "nothing")],
)
def test_sentences_follow_from_intervals(low: float | None, high: float | None, words: str) -> None:
    assert words in judge({"mean": 0.0, "low": low, "high": high, "pictures": 9})
