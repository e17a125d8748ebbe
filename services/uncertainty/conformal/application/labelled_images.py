"""Labelled images that a classifier is calibrated on: several files, or ZIPs, whose folders may be the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.class_labels import find_classes
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from shared.imaging.archive import ArchiveLimits, read_archive
from shared.imaging.signatures import MediaType, require_type, sniff
from shared.problems import field_problem

POINTER: Final = "/body/file"
POINTER_OF_LABELS: Final = "/body/labels"
LIMITS: Final = ArchiveLimits(entries=20_000)
"""Of one ZIP: images of signs are small and many."""

_TYPES: Final = (MediaType.PNG, MediaType.JPEG, MediaType.WEBP, MediaType.ZIP)


def read_images(files: Sequence[bytes]) -> tuple[list[bytes], list[str | None]]:
    """Read images in the order of the files, and of the names within a ZIP.

    Args:
        files: PNG, JPEG, WebP, or ZIPs of them.

    Returns:
        The encoded images, and for each the name of the folder of a ZIP that it lay in, None if it lay in none.

    Raises:
        UnsupportedMediaType: a file is neither an image nor a ZIP.
        ContentTooLarge: a ZIP inflates to too much.
        UnprocessableContent: a ZIP is damaged.
    """
    images: list[bytes] = []
    folders: list[str | None] = []
    for index, data in enumerate(files):
        pointer = f"{POINTER}/{index}"
        require_type(data, _TYPES, pointer=pointer)
        if sniff(data) is not MediaType.ZIP:
            images.append(data)
            folders.append(None)
            continue
        for entry in read_archive(data, LIMITS, pointer=pointer):
            images.append(entry.data)
            folders.append(entry.name.split("/")[-2] if "/" in entry.name else None)
    return images, folders


def choose_labels(folders: Sequence[str | None], posted: Sequence[str] | None) -> list[str]:
    """Choose the label of each image: as posted, or else the name of its folder.

    Args:
        folders: of `read_images`, N of them.
        posted: labels (N,), None if there are none.

    Returns:
        (N,), numbers or names of classes.

    Raises:
        UnprocessableContent: another number of labels, or images in no folder.
    """
    if posted is not None:
        if len(posted) != len(folders):
            raise field_problem(POINTER_OF_LABELS, f"There are {len(posted)} labels for {len(folders)} images.")
        return list(posted)
    named = [folder for folder in folders if folder is not None]
    if len(named) < len(folders):
        detail = "Post a label of each image, or a ZIP in which each lies in a folder named by its label (14/a.png)."
        raise field_problem(POINTER_OF_LABELS, detail)
    return named


def label_images(
    entry: CalibrationEntry, folders: Sequence[str | None], posted: Sequence[str] | None
) -> NDArray[np.int64]:
    """Find the class of each image of a calibration's model, (N,); arguments and problems as of `choose_labels`."""
    classes = entry.answer.classes or 0
    return find_classes(choose_labels(folders, posted), classes=classes, called=entry.answer.class_labels)
