"""report.md out of evaluation.json. Sentences follow from intervals, whichever way they fall."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.security.caption_attack.evaluation.experiments import MAIN, QUERIES
from shared.imaging.charts import Curve, Plot, to_svg

HERE: Final = Path(__file__).parent
EVALUATION: Final = HERE / "evaluation.json"
REPORT: Final = HERE.parent / "report.md"
CHART: Final = HERE.parent / "report.svg"

_COLOURS: Final = {"A": "#c0392b", "C": "#3b76af", "D": "#2e8b57", "M": "#8e5ea2", "N": "#d98e04", "O": "#555555"}
_HEAD: Final = """# Caption attacks: what was measured

Written by `make evaluate-caption-attack`; all figures are in `evaluation/evaluation.json`. Photographs: the first of
the test part of our split of Flickr8k at 112 x 112, in the order of their names. Every search asks the captioner
{queries} times on each photograph and seed, over HTTP and greedily (H has one draw and asks twice), and makes the
smoothed BLEU-4 with the captioner's own clean caption small (a tester has no other reference); 1 is the clean caption.
Differences are paired over photographs, means over seeds, with 95 % bootstrap intervals; rates have 95 % Wilson
intervals for as many trials as there are photographs, since seeds of one photograph are no further photographs.

{runs} runs, {spent} queries, {hours} h on {machines}.
"""


def write_report(figures: Mapping[str, Any]) -> None:
    """report.md and its chart."""
    REPORT.write_text("\n".join(_parts(figures)) + "\n", encoding="utf-8")
    for found in list(figures["victims"].values())[:1]:
        if found["comparisons"] and found["comparisons"][0]["arms"]:
            CHART.write_bytes(to_svg(_chart(found["comparisons"][0])))


def read_figures() -> dict[str, Any]:
    """evaluation.json."""
    found: dict[str, Any] = json.loads(EVALUATION.read_text(encoding="utf-8"))
    return found


def _parts(figures: Mapping[str, Any]) -> Iterator[str]:
    yield _HEAD.format(
        queries=QUERIES,
        runs=f"{figures['runs']:,}",
        spent=f"{figures['queries']:,}",
        hours=figures["hours"],
        machines=", ".join(figures["machines"]),
    )
    yield from _quality(figures["quality"])
    for victim, found in figures["victims"].items():
        yield f"## {victim}\n"
        if found is next(iter(figures["victims"].values())):
            yield "![Runs whose score was halved, against queries](report.svg)\n"
        for comparison in found["comparisons"]:
            yield from _comparison(comparison)
        yield from _corpus(found["corpus"])
        yield from _defences(found["defences"])
        yield from _examples(found["examples"])
    yield from _transfer(figures)


def _quality(quality: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## How well the captioners caption\n"
    yield "| captioner | BLEU-4 | borrowed captions | CIDEr-D | borrowed captions |\n|---|---|---|---|---|"
    for name, found in quality.items():
        cells = [f"{found[metric][part]:.3f}" for metric in ("BLEU-4", "CIDEr-D") for part in ("value", "baseline")]
        yield f"| {name}, 3 beams | {' | '.join(cells)} |"
    yield ""


def _comparison(comparison: Mapping[str, Any]) -> Iterator[str]:
    seeds = comparison["seeds"]
    yield f"### {comparison['title']}: {comparison['photographs']} photographs, {seeds} seed{'s'[: seeds != 1]}\n"
    if comparison["left_out"]:
        yield f"Not measured yet: {', '.join(comparison['left_out'])}.\n"
    if not comparison["arms"]:
        yield "No photograph was tried by all searches yet.\n"
        return
    first = comparison["arms"][0]["arm"]
    yield (
        f"| | search | score | {first} less this | content lost | halved | differs | median queries of losses "
        "| pixels | SSIM |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for arm in comparison["arms"]:
        goals = [_rate(arm["goals"][goal]) for goal in ("content_lost", "score_halved", "caption_differs")]
        median = arm["median_queries"]["content_lost"]
        cells = [
            arm["arm"], arm["title"], f"{arm['score']:.3f}", _difference(arm["first_less_this"]), *goals,
            "-" if median is None else f"{median:.0f}", f"{arm['l0']:.0f}", f"{arm['ssim']:.3f}",
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield from _verdicts(comparison["arms"])


def _verdicts(arms: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Whether attention and evolution help, by the intervals; without what was asked less often."""
    named = {arm["arm"]: arm for arm in arms}
    for other, question in (
        ("C", "Attention (A against the same search on any pixels)"),
        ("F", "Attention (A against the pixels with the least)"),
        ("B", "The sentence's attention (A against that of each word)"),
        ("E", "Evolution (A against random draws where the captioner looks)"),
        ("D", "Both (A against random draws on any pixels)"),
        ("P", "The repair (A against the release's faults)"),
        ("L", "Differential evolution against plain random search, both where the captioner looks"),
        ("G", "Many pixels within a bound (A against one pixel of any colour)"),
        ("M", "A against pixels that move, by random search"),
        ("N", "A against noise of the same expected L2 on the whole picture"),
        ("O", "A against squares on the whole picture"),
    ):
        if other in named:
            yield f"- {question}: {judge(named[other]['first_less_this'])}."
    yield ""


def judge(difference: Mapping[str, Any]) -> str:
    """Whether the first attack is stronger than the second, in words: its scores are lower then."""
    low, high, mean = difference["low"], difference["high"], difference["mean"]
    if low is None or high is None:
        return "one photograph says nothing"
    span = f"{mean:+.3f}, {low:+.3f} to {high:+.3f}"
    if high < 0:
        return f"stronger ({span})"
    if low > 0:
        return f"weaker ({span})"
    return f"no difference that {difference['pictures']} photographs could show ({span})"


def _corpus(corpus: Mapping[str, Any]) -> Iterator[str]:
    if not corpus:
        return
    yield f"### Against people's captions, before and after search A ({MAIN}, first seed)\n"
    yield "| metric | before | after | mean loss of a photograph |\n|---|---|---|---|"
    for name, change in corpus.items():
        yield f"| {name} | {change['before']:.3f} | {change['after']:.3f} | {_difference(change['drop'])} |"
    yield ""


def _defences(defences: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not defences:
        return
    yield f"### Filters in front of the captioner ({MAIN})\n"
    yield (
        "The attack did not know of them. A clean photograph behind a filter often gets another caption, too: its "
        "score says what the filter costs.\n"
    )
    yield "| search | filter | pictures | score without | behind it | clean behind it | content lost | still lost |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in defences:
        scores = [f"{one[name]:.3f}" for name in ("score_without", "score_behind", "clean_score_behind")]
        counts = [str(one[name]) for name in ("successes", "remaining")]
        yield f"| {one['arm']} | {one['defence']} | {one['pictures']} | {' | '.join([*scores, *counts])} |"
    yield ""


def _examples(examples: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"### Captions of the first {len(examples)} photographs, as they are\n"
    yield "| captioner | one of five people | BLEU-4 with all five |\n|---|---|---|"
    for one in examples:
        yield f"| {one['caption']} | {one['people']} | {one['BLEU-4']:.2f} |"
    yield ""


def _transfer(figures: Mapping[str, Any]) -> Iterator[str]:
    yield "## From one captioner to the other\n"
    if not figures["guidance"] and not figures["shown"]:
        yield "Not measured yet: one captioner is released.\n"
    for one in figures["guidance"]:
        if one["runs"]:
            yield (
                f"- {one['victim']} attacked where {one['guide']} looks ({one['runs']} runs): score "
                f"{one['other']:.3f}, own attention {one['own']:.3f}, any pixels {one['any']:.3f}. "
                f"The other's attention against any pixels: {judge(one['other_less_any'])}; "
                f"against its own: {judge(one['other_less_own'])}. "
                f"Search A on {one['victim']} ({one['own']:.3f}) against the same on {one['guide']} "
                f"({one['first']:.3f}): {judge(one['own_less_first'])}."
            )
    for one in figures["shown"]:
        yield (
            f"- Pictures of search A on the first captioner, shown once to {one['victim']} ({one['pictures']} pictures "
            f"of {one['photographs']} photographs): {_transferred(one['found'])}. One random draw at the same pixels: "
            f"{_transferred(one['drawn'])}. What was found against the draw: {judge(one['found_less_drawn'])}."
        )
    yield ""


def _transferred(found: Mapping[str, Any]) -> str:
    return (
        f"score {found['score']:.3f}, caption differs {_rate(found['caption_differs'])}, "
        f"content lost {_rate(found['content_lost'])}"
    )


def _chart(setting: Mapping[str, Any]) -> Plot:
    shown = [arm for arm in setting["arms"] if arm["arm"] in _COLOURS]
    curves = [
        Curve(
            [*zip(arm["curve"]["queries"], [100 * one for one in arm["curve"]["score_halved"]], strict=True)],
            colour=_COLOURS[arm["arm"]],
        )
        for arm in shown
    ]
    highest = max((max(arm["curve"]["score_halved"]) for arm in shown), default=1.0)
    return Plot(
        title=f"Runs whose score was halved ({setting['percent']:g} % of pixels by {setting['bound']})",
        x_label="queries",
        y_label="share of runs, %",
        x_range=(0, QUERIES),
        y_range=(0, max(5.0, 110 * highest)),
        curves=curves,
        legend=[(f"{arm['arm']}: {arm['title']}", curve) for arm, curve in zip(shown, curves, strict=True)],
    )


def _rate(rate: Mapping[str, Any]) -> str:
    return f"{100 * rate['rate']:.0f} % ({100 * rate['low']:.0f}-{100 * rate['high']:.0f})"


def _difference(difference: Mapping[str, Any]) -> str:
    if difference["low"] is None:
        return f"{difference['mean']:+.3f}"
    return f"{difference['mean']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"
