"""The report as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from services.security.bit_error_campaigns.charts import bit_name
from services.security.bit_error_campaigns.report import Accuracy, LayerLoss, LossRate, Report, SpreadView
from shared.imaging.charts import Chart
from shared.report_pages import make_chart, make_figures, make_list, make_page, make_table


def report_page(report: Report, *, curve: Chart | None, layers: Chart | None, bits: Chart | None) -> bytes:
    """The page, UTF-8."""
    return make_page(f"Bit errors in {_name(report)}", "\n".join(_body(report, curve, layers, bits)))


def _body(report: Report, curve: Chart | None, layers: Chart | None, bits: Chart | None) -> Iterator[str]:
    yield f"<h1>Bit errors in {escape(_name(report))}</h1>"
    yield f'<p class="subtitle">{escape(_subtitle(report))}</p>'
    yield _figures(report)
    if curve is not None:
        yield "<h2>Accuracy against bit error rate</h2>"
        yield make_chart(curve)
        yield make_table(_CURVE, ([f"{100 * one.rate:g} %", *_cells(one.accuracy)] for one in report.curve))
    if layers is not None:
        yield f"<h2>The most fragile layers</h2><p>{escape(_alone(report, 'layer'))}</p>"
        yield make_chart(layers)
        yield make_table(_LAYERS, (_layer_cells(one) for one in report.layers), names=(1, 2))
    if bits is not None:
        yield f"<h2>The most fragile bits</h2><p>{escape(_alone(report, 'bit position'))}</p>"
        yield make_chart(bits)
        cells = ([str(one.rank), bit_name(one.bit), *_lost(one.lost_points, one.accuracy)] for one in report.bits)
        yield make_table(_BITS, cells, names=(1,))
    yield "<h2>How to read this</h2>" + make_list(report.notes)
    yield f"<footer>{escape(_origin(report))}</footer>"


_CURVE: Final = ("rate", "accuracy, mean", "std", "95 % interval of the mean", "worst chip", "best chip")
_LOST: Final = ("points lost", "accuracy, mean", "std", "worst chip", "best chip")
_LAYERS: Final = ("#", "layer", "operator", "weights", "share", *_LOST)
_BITS: Final = ("#", "position", *_LOST)


def _layer_cells(one: LayerLoss) -> list[str]:
    named = [str(one.rank), one.layer, one.operator, f"{one.weights:,}", _percent(one.share)]
    return [*named, *_lost(one.lost_points, one.accuracy)]


def _lost(points: float, accuracy: SpreadView) -> list[str]:
    mean, std, _, *ends = _cells(accuracy)
    return [f"{points:.1f}", mean, std, *ends]


def _name(report: Report) -> str:
    version = f" {report.model.version}" if report.model.version else ""
    return f"{report.model.name}{version}" if report.model.version else "a posted model"


def _subtitle(report: Report) -> str:
    options, memory = report.options, report.memory
    fault = "stuck cells" if options.fault == "stuck_at" else "flipped bits"
    return (
        f"{memory.weights:,} weights in {memory.layers} layers; {report.dataset.images:,} pictures of "
        f"{report.dataset.classes_seen} of {report.dataset.classes} classes; {fault}, layout {options.layout}"
    )


def _figures(report: Report) -> str:
    figures = [
        ("as given", _percent(report.as_given.accuracy), _interval(report.as_given)),
        ("stored in eight bits", _percent(report.stored.accuracy), _interval(report.stored)),
        *(_loss_figure(one, report) for one in report.loss_rates),
    ]
    return make_figures(figures)


def _loss_figure(one: LossRate, report: Report) -> tuple[str, str, str]:
    label = f"{one.points} point{'s'[: one.points != 1]} lost at"
    if one.rate is None:
        return label, "-", f"not up to {100 * report.options.rates[-1]:g} %"
    return label, f"{100 * one.rate:.3g} %", "of the cells faulty"


def _interval(accuracy: Accuracy) -> str:
    return f"95 %: {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %"


def _alone(report: Report, what: str) -> str:
    seeds = len(report.options.analysis_seeds)
    return (
        f"Cells fail in one {what} alone, at a rate of {100 * report.options.analysis_rate:g} %; mean of {seeds} "
        f"chip{'s'[: seeds != 1]}."
    )


def _origin(report: Report) -> str:
    options = report.options
    return (
        f"Model sha256 {report.model.sha256}. Data set sha256 {report.dataset.sha256}, labels by "
        f"{report.dataset.labels_by}, {report.dataset.images:,} of {report.dataset.posted:,} pictures. "
        f"{report.networks:,} networks, {report.evaluations:,} evaluations. Seeds of the curve: "
        f"{_ranges(options.seeds)}; of layers and bits: {_ranges(options.analysis_seeds)}."
    )


def _ranges(seeds: Sequence[int]) -> str:
    """Numbers with their runs as ranges."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _cells(spread: SpreadView) -> list[str]:
    between = "-" if spread.low is None or spread.high is None else f"{100 * spread.low:.1f} to {100 * spread.high:.1f}"
    std = "-" if spread.std is None else f"{100 * spread.std:.1f}"
    return [_percent(spread.mean), std, between, _percent(spread.least), _percent(spread.most)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
