"""Labelled pictures that a classifier is calibrated on: several files, or ZIPs, whose folders may be the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.imaging.archive import ArchiveLimits, read_archive
from shared.imaging.signatures import MediaType, require_type, sniff
from shared.problems import field_problem

POINTER: Final = "/body/file"
LIMITS: Final = ArchiveLimits(entries=20_000)
"""Of one ZIP: pictures of signs are small and many."""

_PICTURES: Final = (MediaType.PNG, MediaType.JPEG, MediaType.WEBP, MediaType.ZIP)


def pictures_of(files: Sequence[bytes]) -> tuple[list[bytes], list[str | None]]:
    """All pictures in the order of the files and of the names in a ZIP, and the folder that each lay in.

    Raises:
        UnsupportedMediaType: a file is neither a picture nor a ZIP.
        ContentTooLarge: a ZIP inflates to too much.
        UnprocessableContent: a ZIP is damaged.
    """
    pictures: list[bytes] = []
    folders: list[str | None] = []
    for index, data in enumerate(files):
        pointer = f"{POINTER}/{index}"
        require_type(data, _PICTURES, pointer=pointer)
        if sniff(data) is not MediaType.ZIP:
            pictures.append(data)
            folders.append(None)
            continue
        for entry in read_archive(data, LIMITS, pointer=pointer):
            pictures.append(entry.data)
            folders.append(entry.name.split("/")[-2] if "/" in entry.name else None)
    return pictures, folders


def labels_of(folders: Sequence[str | None], posted: NDArray[Any] | None) -> NDArray[np.int64]:
    """The label of each picture: as posted, or the name of its folder.

    Raises:
        UnprocessableContent: another number of labels, or folders that are no whole numbers.
    """
    if posted is not None:
        if len(posted) != len(folders):
            detail = f"There are {len(posted)} labels for {len(folders)} pictures."
            raise field_problem("/body/labels", detail)
        labels = posted.astype(np.int64)
        if (labels != posted).any() or (labels < 0).any():
            raise field_problem("/body/labels", "Labels are whole numbers from 0.")
        return labels
    found = [folder for folder in folders if folder is not None and folder.isascii() and folder.isdigit()]
    if len(found) < len(folders) or any(len(folder) > 9 for folder in found):
        detail = "Post a label of each picture, or a ZIP in which each lies in a folder named by its label (14/a.png)."
        raise field_problem("/body/labels", detail)
    return np.array([int(folder) for folder in found], np.int64)
