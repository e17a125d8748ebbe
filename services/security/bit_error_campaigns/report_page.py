"""The report as one HTML page: pictures inside, no scripts, nothing loaded from elsewhere, every name escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from services.security.bit_error_campaigns.charts import bit_name
from services.security.bit_error_campaigns.report import Accuracy, LayerLoss, LossRate, Report, SpreadView
from shared.imaging.charts import Chart, to_svg

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.subtitle { color: #555; margin-top: 0; overflow-wrap: anywhere; }
dl.figures { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 1.5rem 0; }
dl.figures div { background: #f3f6fa; border-radius: 6px; padding: 0.6rem 1rem; min-width: 9rem; }
dl.figures dt { color: #555; font-size: 0.85rem; } dl.figures dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
dl.figures small { display: block; color: #555; font-size: 0.8rem; font-weight: normal; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.88rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.25rem 0.5rem; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { font-weight: 600; background: #f3f6fa; }
.name { text-align: left; white-space: normal; min-width: 9rem; overflow-wrap: break-word; }
ul { padding-left: 1.2rem; } footer { margin-top: 2.5rem; color: #555; font-size: 0.85rem; overflow-wrap: anywhere; }
"""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report_page(report: Report, *, curve: Chart | None, layers: Chart | None, bits: Chart | None) -> bytes:
    """The page, UTF-8."""
    body = "\n".join(_body(report, curve, layers, bits))
    title = f"Bit errors in {escape(_name(report))}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()


def _body(report: Report, curve: Chart | None, layers: Chart | None, bits: Chart | None) -> Iterator[str]:
    yield f"<h1>Bit errors in {escape(_name(report))}</h1>"
    yield f'<p class="subtitle">{escape(_subtitle(report))}</p>'
    yield _figures(report)
    if curve is not None:
        yield "<h2>Accuracy against bit error rate</h2>"
        yield _figure(curve)
        yield _table(_CURVE, ([f"{100 * one.rate:g} %", *_cells(one.accuracy)] for one in report.curve))
    if layers is not None:
        yield f"<h2>The most fragile layers</h2><p>{escape(_alone(report, 'layer'))}</p>"
        yield _figure(layers)
        yield _table(_LAYERS, (_layer_cells(one) for one in report.layers), names=(1, 2))
    if bits is not None:
        yield f"<h2>The most fragile bits</h2><p>{escape(_alone(report, 'bit position'))}</p>"
        yield _figure(bits)
        cells = ([str(one.rank), bit_name(one.bit), *_lost(one.lost_points, one.accuracy)] for one in report.bits)
        yield _table(_BITS, cells, names=(1,))
    yield "<h2>How to read this</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>"
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
    items = (
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}<small>{escape(below)}</small></dd></div>"
        for label, value, below in figures
    )
    return f'<dl class="figures">{"".join(items)}</dl>'


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


def _figure(chart: Chart) -> str:
    return f"<figure>{to_svg(chart).decode()}</figure>"


def _cells(spread: SpreadView) -> list[str]:
    between = "-" if spread.low is None or spread.high is None else f"{100 * spread.low:.1f} to {100 * spread.high:.1f}"
    std = "-" if spread.std is None else f"{100 * spread.std:.1f}"
    return [_percent(spread.mean), std, between, _percent(spread.least), _percent(spread.most)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, names: Sequence[int] = ()) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        classes = (' class="name"' if index in names else "" for index in range(len(row)))
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(classes, row, strict=True))

    lines = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{cells("th", head)}</tr>\n{lines}\n</table></div>'
