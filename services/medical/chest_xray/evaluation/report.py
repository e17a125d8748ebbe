"""report.md out of figures.json: tables, and what they may be read as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.medical.chest_xray.evaluation.diagnosis import CROSS_VALIDATED, FIXED, VIEWS
from services.medical.chest_xray.evaluation.figures import BOX_PRIOR, PRIOR, RANDOM, REFERENCE
from services.medical.chest_xray.evaluation.perturbations import ORIGINAL
from services.medical.chest_xray.roles import CLASSES

FIGURES: Final = Path(__file__).parent / "figures.json"
REPORT: Final = Path(__file__).parents[1] / "report.md"

_HEAD: Final = """# Chest X-ray: what was measured

`make evaluate-chest-xray` writes this page out of `evaluation/runs.jsonl`; all figures are in
`evaluation/figures.json`. Research use only, not a medical device. Films: {all} frontal films of {patients} patients
of NIH ChestX-ray14 (Wang et al. 2017; thanks to the NIH Clinical Center), split by patient into {train} for training,
{val} for validation and {test} for test. Intervals are 95 % bootstrap intervals over patients, those of shares
Wilson's. Nothing was chosen on the test split.

Two footings. **Fixed split**: trained on the training split, measured on the test split, of which radiologists have
seen {seen} films ({positive} with an opacity): intervals are wide. **Cross-validation**: five folds by patient over all
films, each scored by what was trained on the other four, pairs compared within folds. It is stated for what is cheap to
train or was trained five times; a model that was trained once is never among its rows. A row of one table is not to be
compared with a row of the other.

Text-mined classes can be told apart by exposure and view, so a random network does well on them: its row is the floor,
and an area near it says nothing of lungs. Lung Opacity is what radiologists said (RSNA).
"""
_SHORTCUTS: Final = """Films changed in ways that leave the finding what it is, but for *middle blanked*, where the
middle of the film, lungs and heart, is one grey. Areas are on Lung Opacity; heads were trained on films as they are.
*Moved* is the mean change of the logit in standard deviations of it."""
_BOXES: Final = """Radiologists' boxes (RSNA, NIH) on films that training has not seen, on the film's own grid. Pointing
game: the map's highest point lies in a box; of a constant map, its chance. Energy: share of the density in boxes.
AUC-Judd: pixels in boxes against the others. Priors know no film."""
_INSERTED: Final = """Test films with inserted findings against the density of the written-down observer, not of
measured gaze. KL is of target against prediction, in nats; CC is the correlation, HS the histogram similarity. Several
were made of one film, which intervals here, over films, leave out of account."""
_SCREENING: Final = """Share of test pictures that are taken for an upright frontal chest film of usual polarity. The
threshold was set on the validation split, to refuse 1.5 % of its films. Kinds in italics were never trained on. No
lateral film is at hand: half films, stretched, stand in for them. Each CT slice is shown in two windows."""

Figures = Mapping[str, Any]


def write_report(figures: Figures, path: Path = REPORT) -> None:
    """Write the page of all figures that there are."""
    path.write_text("\n\n".join(_parts(figures)) + "\n", encoding="utf-8")


def _parts(figures: Figures) -> Iterator[str]:
    counts = figures["films"]
    seen = counts["test_opacity"]
    yield _HEAD.format(
        all=counts["all"],
        patients=counts["patients"],
        **counts["by_split"],
        seen=seen["films"],
        positive=seen["positive"],
    ).strip()
    diagnosis = figures["diagnosis"]
    yield "## Lung Opacity against the rest, as radiologists said"
    yield from (_opacity(found) for found in diagnosis.values())
    yield "## Text-mined classes, each against the others"
    yield from (_text_mined(found) for found in diagnosis.values())
    yield "## Does it look at lungs?"
    yield _SHORTCUTS
    yield from (_shortcuts(found) for found in diagnosis.values() if found["shortcuts"])
    if calibration := diagnosis.get(FIXED, {}).get("calibration"):
        yield _calibration(calibration)
    if any(figures["boxes"].values()):
        yield f"## Attention on radiologists' boxes\n\n{_BOXES}"
        yield from (_maps(found, f"### {_WHERE[name]}", BOX_PRIOR) for name, found in figures["boxes"].items() if found)
    if figures["inserted"]:
        yield f"## Attention on inserted findings\n\n{_INSERTED}"
        yield _maps(figures["inserted"], "", PRIOR).strip()
    yield _SRD
    if figures["screening"]:
        yield _screening(figures["screening"])
    if figures["latency"]:
        yield _latency(figures["latency"])


_WHERE: Final = {"test": "Fixed split, test", "folds": "Cross-validation, all films with boxes"}
_SRD: Final = """## Explanations by SRD

Not measured: tried on the graph of this network, the converter of the explanation service refuses it by name. It knows
no sharing ratio for gates of channels (squeeze-and-excitation: a product, and a rectifier behind a linear layer), nor
for repeating one channel; enlarging and concatenating maps have no rule either."""


def _opacity(found: Figures) -> str:
    counts = found["opacity_counts"]
    rows = [(name, _span(one["auc"]), _difference(one.get("less_reference"))) for name, one in found["opacity"].items()]
    title = (
        f"### {_named(found)}: {counts['films']} films, {counts['positive']} with an opacity, "
        f"{counts['patients']} patients"
    )
    return f"{title}\n\n{_table(('', 'AUC', f'less {REFERENCE}'), rows)}"


def _text_mined(found: Figures) -> str:
    views = ("all", *VIEWS)
    rows = [
        (name, class_name, *(_span(areas.get(view)) for view in views))
        for class_name in CLASSES
        for name, classes in found["text_mined"].items()
        for areas in [classes[class_name]]
    ]
    first = next(iter(found["text_mined"].values()))
    positives = "; ".join(
        f"{name} " + ", ".join(f"{areas[view]['positive']} of {areas[view]['films']} ({view})" for view in areas)
        for name, areas in first.items()
    )
    head = ("", "class", "AUC", *(f"within {view}" for view in VIEWS))
    return f"### {_named(found)}\n\nFilms of the class: {positives}. Floor: {RANDOM}.\n\n{_table(head, rows)}"


def _shortcuts(found: Figures) -> str:
    rows = [
        (name, variant, _span(one["auc"]), _difference(one["less_original"]), _number(one.get("moved"), 2))
        for name, variants in found["shortcuts"].items()
        for variant, one in variants.items()
        if variant != ORIGINAL
    ]
    return f"### {_named(found)}\n\n{_table(('', 'films', 'AUC', 'less films as they are', 'moved'), rows)}"


def _calibration(found: Figures) -> str:
    rows = [
        (
            name, task, _number(one["as_given"]["ece"], 3), _number(one["with_temperature"]["ece"], 3),
            _number(one["as_given"]["brier"], 3), _number(one["with_temperature"]["brier"], 3),
            _number(one["temperature"], 2),
        )
        for name, tasks in found.items()
        for task, one in tasks.items()
    ]  # fmt: skip
    head = ("", "task", "ECE", "with temperature", "Brier", "with temperature", "temperature")
    return (
        "## Calibration\n\nFixed split, test; temperatures of the validation split, over what a model gives (a "
        f"released one has divided by its own already). ECE has ten bins.\n\n{_table(head, rows)}"
    )


def _maps(found: Figures, title: str, prior: str) -> str:
    metrics = [
        name for name in ("pointing game", "energy in box", "AUC-Judd", "CC", "KL", "HS") if name in _first(found)
    ]
    rows = []
    for name, one in found.items():
        less = [_difference(one.get(f"{metric} less {prior}")) for metric in metrics[:1]]
        rows.append((name, str(one["films"]), *(_span(one[metric]) for metric in metrics), *less))
    head = ("", "films", *metrics, f"{metrics[0]} less {prior}")
    return f"{title}\n\n{_table(head, rows)}"


def _first(found: Figures) -> Figures:
    """The first of several."""
    one: Figures = next(iter(found.values()))
    return one


def _screening(found: Figures) -> str:
    names = [*found]
    kinds = _first(found)["kinds"]
    rows = []
    for kind in kinds:
        shown = f"*{kind}*" if kind in _first(found)["unseen"] else kind
        rows.append((shown, str(kinds[kind]["pictures"]), *(_share(found[name]["kinds"].get(kind)) for name in names)))
    return f"## Refusals\n\n{_SCREENING}\n\n{_table(('', 'pictures', *names), rows)}"


def _latency(found: Figures) -> str:
    rows = [
        (name, threads, *(str(one[each]) for each in ("p50_ms", "p95_ms", "times_baseline", "first_ms", "open_ms")))
        for name, of_threads in found.items()
        for threads, one in of_threads.items()
    ]
    head = ("", "", "p50, ms", "p95, ms", "times ImageNet features", "first run, ms", "to open, ms")
    return f"## Latency of a film\n\n{_table(head, rows)}"


def _named(found: Figures) -> str:
    return {FIXED: "Fixed split, test", CROSS_VALIDATED: "Cross-validation, all films"}[found["footing"]]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _span(one: Figures | None) -> str:
    if one is None:
        return "-"
    return f"{one['value']:.3f}" + ("" if one["low"] is None else f" ({one['low']:.3f} to {one['high']:.3f})")


def _difference(one: Figures | None) -> str:
    if one is None:
        return ""
    return f"{one['value']:+.3f}" + ("" if one["low"] is None else f" ({one['low']:+.3f} to {one['high']:+.3f})")


def _share(one: Figures | None) -> str:
    return "-" if one is None else f"{100 * one['share']:.1f} % ({100 * one['low']:.1f} to {100 * one['high']:.1f})"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
