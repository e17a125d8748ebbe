"""The report's section on the defence: the victim fine-tuned on generated textures, and attacked again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.security.camouflage.evaluation.cells import Figures, span, table
from services.security.camouflage.evaluation.experiments import HARDENED, PAINT, VICTIM
from services.security.camouflage.evaluation.running import EARLIER, RESULT
from services.security.camouflage.reporting.report import THRESHOLDS

_HEAD: Final = ("texture", *(f"{what}, {name}" for what in ("AP50", "rate") for name in (VICTIM, HARDENED)))


def write_defence(defence: Figures) -> str:
    """The section.

    Args:
        defence: of the figures.
    """
    rows = [(_named(one), *_cells(one["detectors"])) for one in defence["rows"]]
    return (
        f"### Defence\n\n{_record(defence['record'])} The grid is the same as above: none of its views, lights and "
        "backgrounds is in a set. Textures made against the detector before are those of the sets; how the fine-tuned "
        "one does against others is what the attacks on it say, with as many steps as those before. The sets show the "
        "car of the grid by the renderer of the grid, so part of what was learned is this car: other cars, another "
        f"renderer and longer attacks were not tried. Rates at a score of {THRESHOLDS[0]}.\n\n" + table(_HEAD, rows)
    )


def _record(record: Mapping[str, Any]) -> str:
    if not record:
        return f"{VICTIM} was fine-tuned on textures that were made against it; its folder does not say how."
    before, after = (record["clean"][when] for when in ("before", "after"))
    pictures = sum(one["pictures"] for one in record["sets"])
    return (
        f"{VICTIM} was fine-tuned with {record['steps']} steps on {pictures} pictures of {len(record['sets'])} sets, "
        "half of each under the result of an attack and half under random textures, and on as many frames that it had "
        f"learned from. On {record['clean']['dataset']}, without any texture, its AP50 went from {before['AP50']:.3f} "
        f"to {after['AP50']:.3f}, AP from {before['AP']:.3f} to {after['AP']:.3f}."
    )


def _named(row: Mapping[str, Any]) -> str:
    match row["texture"]:
        case name if name == RESULT:
            return f"**`{row['pattern']}` against {HARDENED}**"
        case name if name == EARLIER:
            return f"`{row['pattern']}` against {VICTIM}"
        case name:
            return f"plain {name}" if name == PAINT else str(name)


def _cells(detectors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    low = f"{THRESHOLDS[0]:g}"
    return [span(detectors[name][low][what]) for what in ("ap50", "detection_rate") for name in (VICTIM, HARDENED)]
