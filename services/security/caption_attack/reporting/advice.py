"""What the owner of a captioner can do about what was found. Every sentence follows from numbers of the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.security.caption_attack.reporting.report import AttackReport, DefenceSummary
from services.security.caption_attack.searching.arms import ARMS

_HELPFUL: Final = 0.5
"""Share of successes that a filter takes back, from which on it is worth a sentence."""

_NOISE: Final = frozenset({"H", "N"})


def advise(report: AttackReport) -> list[str]:
    """Advice, the most important first; at least one sentence."""
    return list(_lines(report))


def _lines(report: AttackReport) -> Iterator[str]:
    if not report.arms:
        yield "Nothing was found out: no run came far enough. Raise `queries`, `budget` or look at `stopped`."
        return
    strongest = max(report.arms, key=lambda arm: (arm.goal.rate, -arm.score))
    rate = strongest.goal
    if rate.successes == 0:
        yield (
            f"No run reached the goal within {report.options.queries} queries: with 95 % confidence this attack "
            f"succeeds on less than {100 * rate.high:.0f} % of such pictures. More pictures make that number smaller."
        )
    else:
        yield (
            f"Search {strongest.arm} reached the goal in {rate.successes} of {rate.runs} runs, changing "
            f"{strongest.pixels:.0f} pixels by at most {strongest.linf} of 255: captions of pictures from strangers "
            "should not decide anything by themselves."
        )
    yield from _about_noise(report)
    yield from _about_attention(report)
    yield from _about_defences(report)
    if rate.successes:
        yield (
            "Train on what was found: the PNGs of this report with the clean captions are such a set. Then run the "
            "same attack with other seeds on the new version and compare both reports."
        )


def _about_noise(report: AttackReport) -> Iterator[str]:
    for arm in report.arms:
        if arm.arm in _NOISE and arm.goal.successes:
            yield (
                f"{ARMS[arm.arm].title} alone reached the goal in {arm.goal.successes} of {arm.goal.runs} runs: this "
                "captioner is sensitive to plain noise. Noise in training helps before anything else does."
            )


def _about_attention(report: AttackReport) -> Iterator[str]:
    for one in report.differences:
        if (one.first, one.second) not in (("A", "C"), ("E", "D")) or not one.certain:
            continue
        if one.mean < 0:
            yield (
                f"Pixels where the captioner looks are its weak ones (search {one.first} against {one.second}: "
                f"{one.mean:+.2f}): attention maps shown to strangers help an attacker."
            )
        else:
            yield (
                f"Changing pixels where the captioner looks did not help here (search {one.first} against "
                f"{one.second}: {one.mean:+.2f})."
            )


def _about_defences(report: AttackReport) -> Iterator[str]:
    helpful = [one for one in report.defences if one.successes and _taken_back(one) >= _HELPFUL]
    for one in sorted(helpful, key=_taken_back, reverse=True):
        yield (
            f"The filter {one.defence} in front of the captioner took back {one.successes - one.remaining} of "
            f"{one.successes} successes, and changed the captions of {one.clean_changed} of {one.pictures} clean "
            "pictures. An attack that knows of the filter may pass it: test the two together."
        )
    if report.defences and not helpful and any(one.successes for one in report.defences):
        yield "None of the filters that were tried took back half of the successes: do not rely on one of them."


def _taken_back(one: DefenceSummary) -> float:
    return (one.successes - one.remaining) / one.successes
