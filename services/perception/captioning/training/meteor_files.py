"""METEOR's program and its paraphrase table, out of the package of COCO's evaluation, whose hash is known."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.perception.captioning.training.meteor import JAR, TABLE
from services.training.packages import PinnedFile, read_pinned

_PACKAGE: Final = "pycocoevalcap==1.2"
_WHEEL: Final = "083ed7910f1aec000b0a237ef6665f74edf19954204d0b1cbdb8399ed132228d"
_FILES: Final = {
    JAR: "1e57b4c72c0830ebe68558f1c799a624e96cbc1b6045c9f6330e26dcff6eafc2",
    TABLE: "c147ac7d2c91f2fbb3ad31e4b352235061eb83145e0434daf217ee9ca5975f48",
}


def fetch_meteor(folder: Path) -> Path:
    """Download what the folder does not have (104 MB each time) and return the folder.

    Raises:
        WrongFile: the package is not the one that was published when this was written.
    """
    for name, sha256 in _FILES.items():
        file = folder / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(read_pinned(PinnedFile(_PACKAGE, _WHEEL, f"pycocoevalcap/meteor/{name}", sha256)))
    return folder
