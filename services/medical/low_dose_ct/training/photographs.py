"""The photographs of stage 1: 400 BSDS500 pictures to train on, BSD68 and Set12 to judge by.

All 68 pictures of BSD68 lie in the `val` part of BSDS500, so only its `train` and `test` parts are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TRAINING_PARTS = ("train", "test")
"""Parts of BSDS500 without a picture of BSD68."""


def read_grayscale(path: Path) -> NDArray[np.float32]:
    """Read a picture as grayscale (ITU-R 601 luma), float32 in [0, 1], shape (height, width)."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def training_files(data: Path) -> list[Path]:
    """The 400 files to train on, in a fixed order, under the data folder `data`.

    Raises:
        FileNotFoundError: there is no picture at the place where they are looked for.
    """
    files = [file for part in TRAINING_PARTS for file in sorted((data / "photos/bsds500" / part).glob("*.jpg"))]
    return _found(files, data / "photos/bsds500")


def held_out_files(data: Path, name: str) -> list[Path]:
    """The files of the test set `name` ("bsd68" or "set12"), in a fixed order.

    Raises:
        FileNotFoundError: there is no picture at the place where they are looked for.
    """
    folder = data / "photos" / name
    return _found(sorted(folder.glob("*.png")), folder)


def _found(files: list[Path], folder: Path) -> list[Path]:
    if not files:
        raise FileNotFoundError(f"no pictures in {folder}; name the folder of the data sets with --data or FACET_DATA")
    return files
