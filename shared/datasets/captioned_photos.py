"""Photographs with five English captions each: Flickr8k (Hodosh, Young, Hockenmaier 2013) at 112x112.

Their photographers' pictures, for research; read where FACET_DATA has them and not part of this repository.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = "captions"
SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class CaptionedPhotos:
    """One part of the set.

    Attributes:
        files: JPEG files, by name.
        captions: of each file, as they were written.
    """

    files: list[Path]
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.files)

    def first(self, count: int) -> CaptionedPhotos:
        """The first `count` photographs by name."""
        return CaptionedPhotos(self.files[:count], self.captions[:count])


def read_captioned_photos(folder: Path) -> dict[str, CaptionedPhotos]:
    """Photographs by the name of their split.

    Args:
        folder: with captions.csv (image, caption), splits.csv (image, split) and images/.

    Raises:
        FileNotFoundError: one of them is not there.
    """
    for name in ("captions.csv", "splits.csv", "images"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} is not there: captioned photographs are read from {folder}")
    captions: dict[str, list[str]] = {}
    for row in _rows(folder / "captions.csv"):
        captions.setdefault(row["image"], []).append(row["caption"])
    splits = {row["image"]: row["split"] for row in _rows(folder / "splits.csv")}
    found = {split: CaptionedPhotos([], []) for split in SPLITS}
    for image in sorted(captions):
        part = found[splits[image]]
        part.files.append(folder / "images" / image)
        part.captions.append(captions[image])
    return found


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as content:
        return list(csv.DictReader(content))
