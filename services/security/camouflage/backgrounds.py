"""Background pictures that callers post: single files, or ZIPs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.renders import read_background
from shared.imaging.archive import ArchiveLimits, read_archive
from shared.imaging.signatures import MediaType, sniff
from shared.problems import ContentTooLarge, FieldError, Problem, field_problem

LEAST_SIDE: Final = 32
MOST_PIXELS: Final = 4 * 1024 * 1024
"""Of one background; pictures of a run are far smaller."""


def unpack_backgrounds(files: Sequence[bytes], *, limit: int, pointer: str = "/body/background") -> list[bytes]:
    """Files of pictures, archives unpacked, each seen to be readable. Blocks.

    Args:
        files: as they were posted.
        limit: most pictures.
        pointer: the field to blame.

    Raises:
        ContentTooLarge: there are too many, or one is too large.
        UnprocessableContent: one is damaged or tiny.
        UnsupportedMediaType: one is no picture.
    """
    found: list[bytes] = []
    for place, data in enumerate(files):
        here = f"{pointer}/{place}"
        entries = [("", data)]
        if sniff(data) is MediaType.ZIP:
            limits = ArchiveLimits(entries=limit, entry_bytes=32 * 1024 * 1024, total_bytes=256 * 1024 * 1024)
            entries = [(one.name, one.data) for one in read_archive(data, limits, pointer=here)]
        for name, content in entries:
            _check(content, name, here)
        found += [content for _, content in entries]
    if len(found) > limit:
        detail = f"A run has at most {limit} backgrounds; these are {len(found)}."
        raise ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])
    return found


def read_backgrounds(files: Sequence[bytes]) -> list[NDArray[np.uint8]]:
    """The pictures, uint8 RGB each, scaled to nothing."""
    return [read_background(data, pixel_limit=MOST_PIXELS, pointer="/body/background") for data in files]


def _check(data: bytes, name: str, pointer: str) -> None:
    try:
        pixels = read_background(data, pixel_limit=MOST_PIXELS, pointer=pointer)
    except Problem as problem:
        if name:
            problem.detail = f"The entry {name!r}: {problem.detail}"
            problem.errors = [FieldError(pointer=pointer, detail=problem.detail)]
        raise
    if min(pixels.shape[:2]) < LEAST_SIDE:
        height, width = pixels.shape[:2]
        raise field_problem(pointer, f"A background has {LEAST_SIDE} pixels at least; this one is {width} x {height}.")
