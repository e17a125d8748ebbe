"""The manifest of the NIH films: labels, boxes and patients of each (see its README for what the labels are worth)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from services.medical.chest_xray.roles import CLASSES

FOLDER: Final = "chest-xray"
MANIFEST: Final = "manifest.csv"

SPLITS: Final = ("train", "val", "test")
TAGS: Final = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Infiltration", "Mass", "Nodule",
    "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
"""Text-mined findings that supervised pretraining learns; of the others there are less than ten films."""

_HEART: Final = frozenset({"Edema", "Cardiomegaly"})
_NORMAL_FOLDER: Final = "No_findings"
_OPACITY: Final = "Lung Opacity"
FILE_SIDE: Final = 512
"""Of the pictures whose pixels boxes are in."""

Split = Literal["train", "val", "test"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Film:
    """One film of the manifest.

    Attributes:
        file: name in `images`.
        patient: identity within the set; one patient is in one split.
        view: `PA` or `AP`.
        label: index in `CLASSES`: CHF-like where the text-mined tags hold Edema or Cardiomegaly, else pneumonia or
            normal by the folder of origin.
        tags: text-mined findings.
        opacity: whether a radiologist's class is Lung Opacity; None where no radiologist looked.
        boxes: of opacities by a radiologist: left, top, width, height as shares of the film's width and height.
        nih_boxes: likewise, of any finding.
        split: `train`, `val` or `test`, by patient.
    """

    file: str
    patient: str
    view: str
    label: int
    tags: frozenset[str]
    opacity: bool | None
    boxes: tuple[Box, ...]
    nih_boxes: tuple[Box, ...]
    split: str

    @property
    def normal(self) -> bool:
        """No finding by text, and none by a radiologist where one looked: what findings are inserted into."""
        return self.label == 0 and self.opacity is not True


def read_manifest(data: Path) -> list[Film]:
    """All films in the order of the manifest.

    Args:
        data: folder of all data sets.

    Raises:
        FileNotFoundError: the set is not there.
    """
    with (data / FOLDER / MANIFEST).open(encoding="utf-8", newline="") as file:
        return [_film(row) for row in csv.DictReader(file)]


def _film(row: dict[str, str]) -> Film:
    tags = frozenset(row["nih_labels"].split("|"))
    return Film(
        file=row["file"],
        patient=row["patient_id"],
        view=row["view"],
        label=_label(row["label"], tags),
        tags=tags,
        opacity=row["rsna_class"] == _OPACITY if row["rsna_class"] else None,
        boxes=_boxes(row["rsna_boxes_xywh_512"], skipped=0),
        nih_boxes=_boxes(row["nih_boxes_label_xywh_512"], skipped=1),
        split=row["split"],
    )


def _label(folder: str, tags: frozenset[str]) -> int:
    if tags & _HEART:
        return CLASSES.index("chf_like")
    return CLASSES.index("normal" if folder == _NORMAL_FOLDER else "pneumonia")


def _boxes(stated: str, *, skipped: int) -> tuple[Box, ...]:
    """Boxes `x,y,w,h` parted by semicolons, after `skipped` values that are none."""
    found = []
    for one in filter(None, stated.split(";")):
        x, y, width, height = (float(value) / FILE_SIDE for value in one.split(",")[skipped:])
        found.append((x, y, width, height))
    return tuple(found)


def in_fold(films: Iterable[Film], fold: int, folds: int) -> list[str]:
    """A split for each film instead of the manifest's: patients `fold` modulo `folds` are tested, the next validate.

    Patients are counted in the order in which they first appear, so that folds are of about equal size.
    """
    numbers: dict[str, int] = {}
    splits = []
    for film in films:
        place = (numbers.setdefault(film.patient, len(numbers)) - fold) % folds
        splits.append(SPLITS[2 - place] if place < 2 else SPLITS[0])
    return splits
