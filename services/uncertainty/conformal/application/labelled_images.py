"""Labelled images that a classifier is calibrated on: several files, or ZIPs, whose folders may be the labels."""

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
"""Of one ZIP: images of signs are small and many."""

_TYPES: Final = (MediaType.PNG, MediaType.JPEG, MediaType.WEBP, MediaType.ZIP)
_LONGEST_LABEL: Final = 9
"""Most digits of a folder's name that is a label."""


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


def read_labels(folders: Sequence[str | None], posted: NDArray[Any] | None) -> NDArray[np.int64]:
    """Read the label of each image: as posted, or else the name of its folder.

    Args:
        folders: of `read_images`, N of them.
        posted: labels (N,), None if there are none.

    Returns:
        (N,), 0 or more.

    Raises:
        UnprocessableContent: another number of labels, or folders that are no whole numbers.
    """
    if posted is not None:
        return _check_posted(posted, len(folders))
    named = [folder for folder in folders if folder is not None and folder.isascii() and folder.isdigit()]
    if len(named) < len(folders) or any(len(folder) > _LONGEST_LABEL for folder in named):
        detail = "Post a label of each image, or a ZIP in which each lies in a folder named by its label (14/a.png)."
        raise field_problem("/body/labels", detail)
    return np.array([int(folder) for folder in named], np.int64)


def _check_posted(posted: NDArray[Any], count: int) -> NDArray[np.int64]:
    if len(posted) != count:
        raise field_problem("/body/labels", f"There are {len(posted)} labels for {count} images.")
    labels = posted.astype(np.int64)
    if (labels != posted).any() or (labels < 0).any():
        raise field_problem("/body/labels", "Labels are whole numbers from 0.")
    return labels
