"""The report of a camouflage as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from services.security.camouflage.reporting.report import (
    PLAIN,
    RESULT,
    THRESHOLDS,
    CamouflageReport,
    ConditionLine,
    DetectorUsed,
    RateLine,
    VictimCheck,
)
from shared.imaging.charts import Chart, Curve, Plot
from shared.report_pages import make_chart, make_figures, make_list, make_page, make_pictures, make_table

_TITLES: Final = {
    "azimuth": "Azimuth, degrees",
    "elevation": "Elevation, degrees",
    "distance": "Distance, metres",
    "light": "Light",
    "background": "Background, number",
}
_RATES: Final = (
    "detector",
    "texture",
    "score",
    "found",
    "rate (95 % interval)",
    "lost of plain",
    "mean score",
    "AP50",
)


def report_page(report: CamouflageReport, *, losses: Chart | None, pictures: Sequence[tuple[bytes, str]]) -> bytes:
    """The page, UTF-8.

    Args:
        report: all that it says.
        losses: over the steps.
        pictures: PNGs and a line below each.
    """
    title = f"Camouflage of {_car(report)} before {report.detectors[0].name}"
    return make_page(title, "\n".join(_body(title, report, losses, pictures)))


def loss_chart(report: CamouflageReport) -> Plot | None:
    """The victim's best score on the car over the steps; None where there are fewer than two."""
    trace = report.steps.trace
    if len(trace) < 2:
        return None
    return Plot(
        title="The victim's best score on the car",
        x_label="step",
        y_label="mean best score of a batch",
        x_range=(trace[0].step, trace[-1].step),
        y_range=(0.0, 1.0),
        curves=[Curve([(point.step, min(max(point.best_score, 0.0), 1.0)) for point in trace])],
    )


def _body(
    title: str, report: CamouflageReport, losses: Chart | None, pictures: Sequence[tuple[bytes, str]]
) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    yield f'<p class="subtitle">{escape(_subtitle(report))}</p>'
    yield f"<p><strong>{escape(report.notice)}</strong></p>"
    if report.stopped is not None:
        yield f"<p><strong>Not complete.</strong> {escape(report.stopped)} Numbers are of what was done until then.</p>"
    yield make_figures(_figures(report))
    yield "<h2>What to do</h2>" + make_list(report.advice)
    if pictures:
        yield "<h2>Pictures</h2>" + make_pictures(pictures)
    if report.rates:
        yield f"<h2>How often the car is found</h2><p>{escape(report.rule)}</p>"
        yield make_list(f"{name}: {text}" for name, text in report.textures.items())
        yield make_table(_RATES, map(_rate_cells, report.rates), names=(0, 1))
        yield f"<h2>By condition</h2><p>Detection rates at a score of {report.conditions_threshold:g}.</p>"
        for used in report.detectors:
            yield from _conditions(report, used.name)
    if losses is not None:
        yield "<h2>Steps</h2>" + make_chart(losses)
    yield "<h2>Detectors</h2>" + make_list(map(_described, report.detectors))
    if report.victim_unchanged is not None:
        yield f"<p>{escape(_unchanged(report.victim_unchanged))}</p>"
    yield "<h2>How to read this</h2>" + make_list(report.caveats)
    yield f"<footer>{escape(_origin(report))}</footer>"


def _conditions(report: CamouflageReport, detector: str) -> Iterator[str]:
    lines = [one for one in report.conditions if one.detector == detector]
    textures = list(dict.fromkeys(one.texture for one in lines))
    if not lines:
        return
    yield f"<h3>{escape(detector)}</h3>"
    for name, title in _TITLES.items():
        there = [one for one in lines if one.condition == name]
        yield make_table((title, "pictures", *textures), _condition_rows(there, textures), names=(0,))


def _condition_rows(lines: Sequence[ConditionLine], textures: Sequence[str]) -> Iterator[list[str]]:
    for value in dict.fromkeys(one.value for one in lines):
        there = {one.texture: one for one in lines if one.value == value}
        frames = str(next(iter(there.values())).frames)
        yield [value, frames, *(_percent(there[texture].rate) for texture in textures)]


def _rate_cells(line: RateLine) -> list[str]:
    lost = "-" if line.lost is None else _percent(line.lost)
    rate = f"{_percent(line.rate)} ({100 * line.low:.0f} to {100 * line.high:.0f})"
    found = f"{line.found} of {line.frames}"
    return [
        f"{line.detector}, {line.role}",
        line.texture,
        f"{line.threshold:g}",
        found,
        rate,
        lost,
        f"{line.mean_score:.3f}",
        f"{line.ap50:.3f}",
    ]


def _figures(report: CamouflageReport) -> Iterator[tuple[str, str, str]]:
    for used in report.detectors[:3]:
        lines = {one.texture: one for one in _main_lines(report, used.name)}
        if lines:
            yield f"found by {used.name}", _percent(lines[RESULT].rate), f"plain {_percent(lines[PLAIN].rate)}"
    yield "covered", f"{report.surface.covered_m2:.1f} m²", f"{_percent(report.surface.covered_share)} of the paint"
    yield "steps", f"{report.steps.done}", f"of {report.steps.planned}"


def _main_lines(report: CamouflageReport, detector: str) -> list[RateLine]:
    return [one for one in report.rates if one.detector == detector and one.threshold == THRESHOLDS[0]]


def _subtitle(report: CamouflageReport) -> str:
    plan = report.plan
    cover = "all paint" if plan.cover.mode == "full" else f"stickers on {', '.join(plan.cover.places)}"
    return f"{cover}, pattern {plan.pattern}, seed {plan.seed}; {report.frames} conditions that no step has seen"


def _origin(report: CamouflageReport) -> str:
    began = "noise" if report.texture_sha256 is None else f"a posted file, sha256 {report.texture_sha256}"
    return f"The texture began with {began}; {report.format}."


def _described(used: DetectorUsed) -> str:
    if used.model is not None:
        return f"{used.role}: {used.model.name} {used.model.version}, sha256 {used.model.weights_sha256}"
    if used.endpoint is None:
        return f"{used.role}: {used.name}"
    asked = f"shown {used.spent} pictures of at most {used.endpoint.budget}; {used.endpoint.ownership}"
    return f"{used.role}: {used.name}, owned by {used.endpoint.owner}, {asked}"


def _unchanged(check: VictimCheck) -> str:
    return (
        "The victim was read, frozen and never changed: its file and its weights in memory had the same digests before "
        f"the first step and after the last (sha256 {check.file_sha256}, {check.tensors_sha256})."
    )


def _car(report: CamouflageReport) -> str:
    return "a posted mesh" if report.surface.car == "posted" else f"the {report.surface.car}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
