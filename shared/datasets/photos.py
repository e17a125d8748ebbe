"""Photographs of BSDS500 (Arbelaez, Maire, Fowlkes, Malik 2011), and what some of them show.

Berkeley's pictures; terms not verified, so they are read where FACET_DATA has them and not part of this repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = "photos/bsds500"

SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "100007": ("polar bear",),
    "100039": ("American black bear",),
    "100099": ("brown bear",),
    "10081": ("military aircraft",),
    "101027": ("coral reef",),
    "103029": ("albatross",),
    "105027": ("lion",),
    "107014": ("African bush elephant", "tusker"),
    "107045": ("African bush elephant", "tusker"),
    "107072": ("African bush elephant", "tusker"),
    "108004": ("tiger",),
    "108036": ("tiger",),
    "108069": ("tiger",),
    "109055": ("grey wolf", "coyote"),
    "130066": ("zebra",),
    "134049": ("leopard",),
    "134067": ("leopard",),
}
"""Classes of ImageNet that are right for a photograph of the test part, by its number.

All of the first 48 by name that show something ImageNet names, and nothing else of that size; judged by eye before any
network was asked."""


def photographs(data: Path, *, parts: tuple[str, ...] = ("train", "test")) -> list[Path]:
    """JPEG files, 481x321 or 321x481, by name.

    Args:
        data: folder of the data sets.
        parts: 200 photographs each.

    Raises:
        FileNotFoundError: the set is not there.
    """
    found = [path for part in parts for path in sorted((data / FOLDER / part).glob("*.jpg"))]
    if not found:
        raise FileNotFoundError(f"no photographs in {data / FOLDER}")
    return found


def subjects(data: Path) -> dict[Path, tuple[str, ...]]:
    """Photographs whose subject is known, with the classes of ImageNet that are right.

    Raises:
        FileNotFoundError: the set is not there.
    """
    by_number = {path.stem: path for path in photographs(data, parts=("test",))}
    return {by_number[number]: names for number, names in SUBJECTS.items()}
