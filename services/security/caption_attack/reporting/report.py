"""The report of an attack: what was asked, what each search found at the same number of queries, what follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any, Final

from pydantic import BaseModel, Field

from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.reporting.findings import PictureView, RunView
from services.security.caption_attack.reporting.statistics import (
    MeanDifference,
    SuccessRate,
    median_queries,
    paired_difference,
    success_curve,
    success_rate,
)
from services.security.caption_attack.searching.arms import ARMS
from services.security.caption_attack.searching.objectives import GOALS, Goal
from shared.runtime.cards import ModelReference

CURVE_POINTS: Final = 50


class TargetView(BaseModel):
    """The captioner that was tested."""

    kind: str = Field(description="`model` of the fleet, or `endpoint` that the operator has registered")
    name: str | None = Field(description="Its name; null: the first by name of the fleet's captioners")
    owner: str | None = Field(description="Of an endpoint")
    model: ModelReference | None = Field(description="What wrote words, the same from the first query to the last")
    encoder: ModelReference | None = Field(description="What read pictures for it, likewise")
    guide: ModelReference | None = Field(description="Captioner whose attention guided an attack on an endpoint")


class RateView(BaseModel):
    """A share of runs."""

    successes: int
    runs: int
    rate: float
    low: float = Field(description="95 % interval (Wilson), as if seeds of one picture said the same")
    high: float


class DifferenceView(BaseModel):
    """What two searches differ by, on the same pictures at the same number of queries."""

    first: str = Field(description="Letter of a search")
    second: str = Field(description="Letter of another")
    mean: float = Field(description="Score of the first less that of the second; negative: the first is stronger")
    low: float | None = Field(description="95 % interval over pictures (paired bootstrap); null: one picture")
    high: float | None
    pictures: int
    certain: bool = Field(description="Whether the interval leaves 0 out")


class ArmView(BaseModel):
    """What one search found over all pictures and seeds."""

    arm: str
    title: str
    runs: int
    goal: RateView = Field(description="Runs that reached the goal of the attack")
    goals: dict[Goal, RateView] = Field(description="Runs that reached each kind of success")
    median_queries: float | None = Field(description="To the goal, of runs that reached it; null: none did")
    score: float = Field(description="Mean of the lowest scores; the clean caption has 1 unless captions vary")
    pixels: float = Field(description="Mean number of pixels that differ")
    linf: int = Field(description="Greatest difference of any channel, of 255")
    ssim: float = Field(description="Mean structural similarity with the clean picture")
    queries: int = Field(description="That were answered, of all runs")
    success_curve: list[tuple[int, float]] = Field(description="After so many queries, the share of runs at the goal")


class DefenceSummary(BaseModel):
    """What a filter in front of the captioner does to what was found."""

    defence: str
    tried: int = Field(description="Changed pictures that were shown behind it")
    pictures: int = Field(description="Clean pictures that were")
    successes: int = Field(description="Of these, those that reach the goal without it")
    remaining: int = Field(description="Of these, those that reach it behind it")
    clean_changed: int = Field(description="Of the clean pictures, those that get another caption behind it")


class AttackReport(BaseModel):
    """What an attack found out."""

    target: TargetView
    options: AttackOptions
    pictures: list[PictureView]
    complete: bool = Field(description="Whether all runs came to their end")
    stopped: str | None = Field(description="Why not")
    budget: int = Field(description="Most queries of the captioner")
    spent: int = Field(description="Queries that it has seen, or may have")
    arms: list[ArmView]
    differences: list[DifferenceView] = Field(description="The first search against each other one")
    defences: list[DefenceSummary]
    advice: list[str]
    notes: list[str]
    runs: list[RunView]


def build_report(
    *,
    target: TargetView,
    options: AttackOptions,
    pictures: Sequence[PictureView],
    runs: Sequence[RunView],
    stopped: str | None,
    budget: int,
    spent: int,
) -> AttackReport:
    """The report, without advice yet; the same findings have the same one.

    Args:
        target: that was tested.
        options: of the attack.
        pictures: that were looked at.
        runs: that have found anything, in the order of the plan.
        stopped: why the attack did not come to its end, if it did not.
        budget: most queries.
        spent: of them.
    """
    arms = [summarise_arm(arm, [one for one in runs if one.arm == arm], options) for arm in options.arms]
    return AttackReport(
        target=target,
        options=options,
        pictures=list(pictures),
        complete=stopped is None,
        stopped=stopped,
        budget=budget,
        spent=spent,
        arms=[arm for arm in arms if arm is not None],
        differences=list(compare_arms(runs, options.arms)),
        defences=list(summarise_defences(runs)),
        advice=[],
        notes=_notes(options, pictures, runs),
        runs=list(runs),
    )


def summarise_arm(arm: str, runs: Sequence[RunView], options: AttackOptions) -> ArmView | None:
    """One search over its runs; None where there is none."""
    if not runs:
        return None
    firsts = {goal: [_first(run, goal) for run in runs] for goal in GOALS}
    wanted = firsts[options.goal]
    pictures = len({run.picture for run in runs})
    queries = sorted({1 + round(index * (options.queries - 1) / (CURVE_POINTS - 1)) for index in range(CURVE_POINTS)})
    return ArmView(
        arm=arm,
        title=ARMS[arm].title,
        runs=len(runs),
        goal=_rate(success_rate(wanted, pictures=pictures)),
        goals={goal: _rate(success_rate(found, pictures=pictures)) for goal, found in firsts.items()},
        median_queries=median_queries(wanted).of_successes,
        score=fmean(run.score for run in runs),
        pixels=fmean(run.distances.l0 for run in runs),
        linf=max(run.distances.linf for run in runs),
        ssim=fmean(run.distances.ssim for run in runs),
        queries=sum(run.queries for run in runs),
        success_curve=[*zip(queries, success_curve(wanted, queries), strict=True)],
    )


def compare_arms(runs: Iterable[RunView], arms: Sequence[str]) -> Iterable[DifferenceView]:
    """The first search against each other one, on pictures that both were tried on."""
    scores: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        scores[run.arm][run.picture].append(run.score)
    first = arms[0]
    for second in arms[1:]:
        shared = sorted(scores[first].keys() & scores[second].keys())
        if not shared:
            continue
        ones, others = ([fmean(scores[arm][picture]) for picture in shared] for arm in (first, second))
        yield _difference(first, second, paired_difference(ones, others))


def summarise_defences(runs: Iterable[RunView]) -> Iterable[DefenceSummary]:
    """Each filter over all runs that it was tried on."""
    tried = sorted(((one, run) for run in runs for one in run.defences), key=lambda pair: pair[0].defence)
    for name, group in groupby(tried, key=lambda pair: pair[0].defence):
        pairs = list(group)
        yield DefenceSummary(
            defence=name,
            tried=len(pairs),
            pictures=len({run.picture for _, run in pairs}),
            successes=sum(run.success for _, run in pairs),
            remaining=sum(run.success and one.goal_reached for one, run in pairs),
            clean_changed=len({run.picture for one, run in pairs if one.clean_differs}),
        )


def _first(run: RunView, goal: Goal) -> int | None:
    return run.reached[goal].queries if goal in run.reached else None


def _rate(found: SuccessRate) -> RateView:
    return RateView(successes=found.successes, runs=found.runs, rate=found.rate, low=found.low, high=found.high)


def _difference(first: str, second: str, found: MeanDifference) -> DifferenceView:
    kept: dict[str, Any] = {"mean": found.mean, "low": found.low, "high": found.high, "pictures": found.pictures}
    return DifferenceView(first=first, second=second, certain=found.is_certain, **kept)


def _notes(options: AttackOptions, pictures: Sequence[PictureView], runs: Sequence[RunView]) -> list[str]:
    meaning = _SCORES[options.fitness]
    notes = [
        f"A score is what is left of the clean caption, 1 at the beginning and 0 at the end of an attack: {meaning}.",
        "The captioner was asked as a black box: pictures in, captions out. Nothing of its inside was read or changed.",
    ]
    if options.seeds > 1:
        notes.append("Several seeds of one picture are alike: intervals of rates over runs are rather too narrow.")
    if any(not picture.deterministic for picture in pictures):
        notes.append(
            "The captioner says different things of the same picture: each picture was shown "
            f"{options.probes} times, and a goal counts where more than half of its captions reach it."
        )
    unguided = {run.arm for run in runs if not run.guided and ARMS[run.arm].uses_attention}
    if unguided:
        notes.append(
            f"No attention was at hand for {', '.join(sorted(unguided))}: these searches changed any pixels, as C does."
        )
    if options.stop_at_goal:
        notes.append("Runs ended at their first success: distances and scores are those of that picture.")
    return notes


_SCORES: Final = {
    "bleu4": "smoothed BLEU-4 with the clean caption",
    "rouge_l": "ROUGE-L with the clean caption",
    "content_words": "cosine of its content words with those of the clean caption",
    "target_word": "0 once the target word is there, else half of what is left of BLEU-4, and a half",
}
