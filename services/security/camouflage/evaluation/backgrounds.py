"""What stands behind the car: frames of a simulator without vehicles, of other towns for steps than for measures.

Without the data sets both are drawn streets, by seeds that are apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.security.camouflage.measurement.conditions import Backgrounds, Pictures, Streets
from services.security.camouflage.measurement.grids import HeldOutBackgrounds

HORIZON: Final = 0.48
"""Row of the horizon in frames of CARLA, as a share of their height; read off by eye."""
KEPT: Final = 24
"""Frames that are measured with."""
_VEHICLES: Final = frozenset({"vehicle", "motobike"})


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundSplit:
    """Backgrounds that steps see, and others.

    Attributes:
        kind: `carla` or `streets`.
        name: what they are, for the report.
        learned: of steps.
        held_out: of measures.
    """

    kind: Literal["carla", "streets"]
    name: str
    learned: Backgrounds
    held_out: HeldOutBackgrounds


def split_backgrounds(data: Path | None) -> BackgroundSplit:
    """The backgrounds that there are.

    Args:
        data: folder of all data sets; CARLA is looked for in it.
    """
    folder = None if data is None else data / "carla"
    if folder is None or not folder.is_dir():
        return BackgroundSplit("streets", "drawn streets", Streets(), HeldOutBackgrounds())
    learned = [picture for split in ("train", "val") for picture in _empty_frames(folder, split)]
    test = _empty_frames(folder, "test")
    places = np.linspace(0, len(test) - 1, min(KEPT, len(test))).round().astype(int)
    name = (
        f"CARLA frames without a labelled vehicle: {len(learned)} of Town01 to Town04 for steps, "
        f"{len(places)} of Town05 for measures"
    )
    held_out = HeldOutBackgrounds(tuple(test[place] for place in places), HORIZON)
    return BackgroundSplit("carla", name, Pictures(learned, HORIZON), held_out)


def _empty_frames(folder: Path, split: str) -> list[NDArray[np.uint8]]:
    """Frames of a split on which no vehicle is labelled, uint8 RGB."""
    document: dict[str, Any] = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
    vehicles = {one["id"] for one in document["categories"] if one["name"] in _VEHICLES}
    busy = {one["image_id"] for one in document["annotations"] if one["category_id"] in vehicles}
    names = [one["file_name"] for one in document["images"] if one["id"] not in busy]
    return [np.asarray(Image.open(folder / "images" / name).convert("RGB")) for name in names]
