"""The report of an attack as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from services.security.caption_attack.reporting.findings import RunView
from services.security.caption_attack.reporting.report import ArmView, AttackReport, RateView, TargetView
from shared.imaging.charts import Chart
from shared.report_pages import make_chart, make_figures, make_list, make_page, make_pictures, make_table

_GOALS: Final = {
    "content_lost": "no content word of the clean caption survives",
    "score_halved": "half of the clean caption's BLEU-4 is lost",
    "caption_differs": "the caption differs in any word",
    "target_word": "the target word appears",
}


def report_page(
    report: AttackReport, *, curve: Chart | None, pictures: Mapping[int, Sequence[tuple[bytes, str]]]
) -> bytes:
    """The page, UTF-8.

    Args:
        report: all that it says.
        curve: successes against queries.
        pictures: PNGs and lines below them, by index of the attacked picture.
    """
    title = f"Caption attack on {describe_target(report.target)}"
    return make_page(title, "\n".join(_body(title, report, curve, pictures)))


def describe_target(target: TargetView) -> str:
    """The captioner in a few words."""
    if target.kind == "endpoint":
        return f"the endpoint {target.name}"
    return "the fleet's captioner" if target.model is None else f"{target.model.name} {target.model.version}"


def _body(
    title: str, report: AttackReport, curve: Chart | None, pictures: Mapping[int, Sequence[tuple[bytes, str]]]
) -> Iterator[str]:
    options = report.options
    yield f"<h1>{escape(title)}</h1>"
    yield f'<p class="subtitle">{escape(_subtitle(report))}</p>'
    if report.stopped is not None:
        yield f"<p><strong>Not complete.</strong> {escape(report.stopped)} Numbers are of what was done until then.</p>"
    yield make_figures(_figures(report))
    yield "<h2>What to do</h2>" + make_list(report.advice)
    if curve is not None:
        yield "<h2>Success against queries</h2>" + make_chart(curve)
    yield make_table(_ARMS, map(_arm_cells, report.arms), names=(1,))
    if report.differences:
        yield "<h2>Searches compared</h2><p>Mean score of the first less that of the second, on the same pictures.</p>"
        yield make_table(_DIFFERENCES, _difference_rows(report), names=(0, 3))
    if report.defences:
        yield "<h2>Filters in front of the captioner</h2>"
        yield make_table(_DEFENCES, _defence_rows(report), names=(0,))
    yield f"<h2>Pictures</h2><p>At most {options.pixels_percent:g} % of pixels by at most {options.bound} of 255.</p>"
    for picture in report.pictures:
        yield f"<h3>Picture {picture.index + 1}</h3>"
        yield make_pictures(pictures.get(picture.index, ()))
        yield make_table(_RUNS, _run_rows(report.runs, picture.index), names=(2, 3))
    yield "<h2>How to read this</h2>" + make_list(report.notes)
    yield f"<footer>{escape(_origin(report))}</footer>"


_ARMS: Final = ("", "search", "runs", "at the goal", "95 % interval", "median queries", "score", "pixels", "SSIM")
_DIFFERENCES: Final = ("searches", "difference", "95 % interval", "certain")
_DEFENCES: Final = ("filter", "successes without", "successes behind it", "clean captions changed")
_RUNS: Final = ("search", "seed", "before", "after", "score", "queries", "goal")


def _subtitle(report: AttackReport) -> str:
    options = report.options
    target = f" ({options.target!r})" if options.target else ""
    count = len(report.pictures)
    return (
        f"{count} picture{'s'[: count != 1]}, goal: {_GOALS[options.goal]}{target}; {options.queries} queries for each "
        f"search, picture and seed; {report.spent} of {report.budget} queries spent"
    )


def _figures(report: AttackReport) -> Iterator[tuple[str, str, str]]:
    for arm in report.arms[:4]:
        yield f"goal reached by {arm.arm}", _percent(arm.goal.rate), _interval(arm.goal)
    yield "queries", f"{report.spent:,}", f"of {report.budget:,}"


def _arm_cells(arm: ArmView) -> list[str]:
    median = "-" if arm.median_queries is None else f"{arm.median_queries:g}"
    goal = f"{arm.goal.successes} ({_percent(arm.goal.rate)})"
    numbers = [goal, _interval(arm.goal), median, f"{arm.score:.3f}", f"{arm.pixels:.0f}", f"{arm.ssim:.3f}"]
    return [arm.arm, arm.title, str(arm.runs), *numbers]


def _difference_rows(report: AttackReport) -> Iterator[list[str]]:
    for one in report.differences:
        between = "-" if one.low is None or one.high is None else f"{one.low:+.3f} to {one.high:+.3f}"
        yield [f"{one.first} against {one.second}", f"{one.mean:+.3f}", between, "yes" if one.certain else "no"]


def _defence_rows(report: AttackReport) -> Iterator[list[str]]:
    for one in report.defences:
        yield [one.defence, str(one.successes), str(one.remaining), f"{one.clean_changed} of {one.pictures}"]


def _run_rows(runs: Sequence[RunView], picture: int) -> Iterator[list[str]]:
    for run in runs:
        if run.picture == picture:
            before = " | ".join(dict.fromkeys(run.clean))
            after = " | ".join(dict.fromkeys(run.captions))
            success = "reached" if run.success else "no"
            yield [run.arm, str(run.seed), before, after, f"{run.score:.3f}", str(run.queries), success]


def _origin(report: AttackReport) -> str:
    target = report.target
    weights = [
        f"{one.name} {one.version}, sha256 {one.weights_sha256}"
        for one in (target.model, target.encoder, target.guide)
        if one is not None
    ]
    owner = [f"owner: {target.owner}"] if target.owner else []
    seeds = report.options.all_seeds
    return "; ".join([*owner, *weights, f"seeds {seeds[0]} to {seeds[-1]}"]) + "."


def _interval(rate: RateView) -> str:
    return f"{100 * rate.low:.0f} to {100 * rate.high:.0f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
