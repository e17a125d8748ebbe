"""The comparison as a page: a table for each direction and backbone, and the differences that were asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.evaluation.choices import PILOT
from services.perception.detection.evaluation.experiments import CLASSES, DIRECTIONS, METHODS, SHORT_SIDE, Method

REPORT: Final = Path(__file__).parents[1] / "report.md"
_BACKBONES: Final = {
    "imagenet": "EfficientNet-Lite0 with ImageNet's weights",
    "scratch": "A residual network from nothing",
}
_CELLS: Final = ("WBC", "RBC")
"""Classes of which each origin has dozens of objects; on R nine platelets are left."""
_NAMES: Final = {"P": "Peripheral Blood Cells", "R": "Raabin-WBC", "B": "BCCD and BCD"}

Lines = Mapping[str, Sequence[Mapping[str, Any]]]
"""Lines of one direction and backbone, by method."""


def write_report(lines: Iterable[Mapping[str, Any]], path: Path = REPORT) -> None:
    """Write the page of all runs that there are."""
    lines = list(lines)
    grouped: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if not line["key"].startswith(PILOT):
            grouped[line["backbone"], line["target"]][line["method"]].append(line)
    pilots = [line for line in lines if line["key"].startswith(PILOT)]
    parts = [_INTRODUCTION, *([_pilots(pilots)] if pilots else [])]
    for backbone, title in _BACKBONES.items():
        present = [target for target in DIRECTIONS if (backbone, target) in grouped]
        if present:
            parts.append(f"## {title}")
            parts += [_section(target, grouped[backbone, target]) for target in present]
            parts.append(_differences({target: grouped[backbone, target] for target in present}))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


_INTRODUCTION: Final = f"""# Adapting a detector to blood cells of another origin

`make evaluate-detection` writes this page out of `evaluation/runs.jsonl`. Blood smears of three origins (TXL-PBC), two
with labels, the third without; figures are COCO's average precision at IoU 0.5 (AP50) in percent on the test pictures
of the third, pictures scaled to a short side of {SHORT_SIDE} pixels. All methods take equally many steps, and the
detector of the last step is measured: nothing was chosen by labels of the target. Where there is more than one seed,
the mean and the range of them are given. AP50 is the mean of the classes, however few objects (in brackets) one has:
nine platelets weigh as much as a thousand red cells, hence the column of white and red cells beside it. Labels of the
set are semi-automatic; nothing here is for diagnosis. Figures of the paper are of street scenes: not to be compared."""


def _section(target: str, methods: Lines) -> str:
    first, second = DIRECTIONS[target]
    any_run = next(iter(methods.values()))[0]
    counted = [f"{name} ({any_run['figures']['classes'][name]['objects']})" for name in CLASSES]
    rows = [
        f"### {first} and {second} to {target} ({_NAMES[target]})",
        "",
        f"| method | seeds | AP50 | {' and '.join(_CELLS)} | {' | '.join(counted)} | AP | labels in a picture |",
        "|---|---|---|---|" + "---|" * (len(CLASSES) + 2),
    ]
    for method, title in METHODS.items():
        if runs := methods.get(method):
            of_classes = [_shown([run["figures"]["classes"][name]["AP50"] for run in runs]) for name in CLASSES]
            labels = np.mean([run["labels_per_picture"] for run in runs])
            cells = [
                title + "".join(f" (ended: {run['ended']})" for run in runs if run["ended"]),
                str(len(runs)),
                _shown([run["figures"]["AP50"] for run in runs]),
                _shown([_of_cells(run) for run in runs]),
                *of_classes,
                _shown([run["figures"]["AP"] for run in runs]),
                f"{labels:.1f}" if labels else "",
            ]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _pilots(lines: Sequence[Mapping[str, Any]]) -> str:
    """What sources say, each in the other's place."""
    rows = [
        "## From one source to the other",
        "",
        "What no label of the target may choose is chosen by adapting from one of its sources to the other (`choose`).",
        "",
        "| from, to | variant | AP | AP50 | " + " | ".join(CLASSES) + " |",
        "|---|---|---|---|" + "---|" * len(CLASSES),
    ]
    for line in lines:
        classes = [_shown([line["figures"]["classes"][name]["AP50"]]) for name in CLASSES]
        pair = line["key"].split("/")[1]
        whole = [_shown([line["figures"][name]]) for name in ("AP", "AP50")]
        rows.append(f"| {pair} | {line['method']} | {' | '.join([*whole, *classes])} |")
    return "\n".join(rows)


_COMPARED: Final[Mapping[str, tuple[Method, Method]]] = {
    "ACIA - sources alone": ("acia", "source-only"),
    "ACIA - the same with strong colours": ("acia", "strong"),
    "ACIA - mean teacher": ("acia", "mean-teacher"),
    "mean teacher - sources alone": ("mean-teacher", "source-only"),
}


def _differences(directions: Mapping[str, Lines]) -> str:
    """ACIA beside the two that it was asked to be compared with, on equal seeds."""
    rows = [f"| direction | {' | '.join(_COMPARED)} |", "|---|" + "---|" * len(_COMPARED)]
    gains = {name: [_gains(methods, *pair) for methods in directions.values()] for name, pair in _COMPARED.items()}
    for place, target in enumerate(directions):
        cells = [_signed(of_all[place]) for of_all in gains.values()]
        rows.append(f"| {' and '.join(DIRECTIONS[target])} to {target} | {' | '.join(cells)} |")
    means = [_signed(np.concatenate(of_all)) for of_all in gains.values()]
    rows.append(f"| mean | {' | '.join(means)} |")
    introduction = (
        "Differences of AP50 in points of the seeds that both have, in brackets those of white and red cells:"
    )
    return "\n".join([introduction, "", *rows])


def _gains(methods: Lines, one: str, other: str) -> NDArray[np.float64]:
    """Mean difference over the seeds that both have, in points: (1, 2) of all classes and of cells; else (0, 2)."""
    figures = {
        name: {run["seed"]: np.array([run["figures"]["AP50"], _of_cells(run)]) for run in methods.get(name, ())}
        for name in (one, other)
    }
    both = sorted(figures[one].keys() & figures[other].keys())
    if not both:
        return np.empty((0, 2))
    gains = np.stack([figures[one][seed] - figures[other][seed] for seed in both])
    return np.asarray(100 * gains.mean(axis=0, keepdims=True))


def _signed(gains: NDArray[np.float64]) -> str:
    """Their mean; nothing where there are none."""
    return "{:+.1f} ({:+.1f})".format(*gains.mean(axis=0)) if len(gains) else ""


def _of_cells(run: Mapping[str, Any]) -> float:
    return float(np.mean([run["figures"]["classes"][name]["AP50"] for name in _CELLS]))


def _shown(values: Sequence[float | None]) -> str:
    """In percent, with the range where there are several; nothing where the class has no objects."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return ""
    mean = f"{np.mean(known):.1f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.1f} to {max(known):.1f})"
