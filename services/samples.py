"""Writes the sample input of every declared capability: `python -m services.samples FOLDER`; a part of `make demo`."""

from __future__ import annotations

import sys
from pathlib import Path

from services.declarations import declared_capabilities
from shared.capabilities.collection import Capabilities
from shared.capabilities.references import load_reference


def sample_files(capabilities: Capabilities) -> dict[str, bytes]:
    """The contents of all sample files by name."""
    makers = {file.name: file.make for file in capabilities.sample_files}
    return {name: load_reference(make)() for name, make in makers.items()}


def main(folder: Path) -> None:
    """Write them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sample_files(declared_capabilities()).items():
        (folder / name).write_bytes(content)
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
