"""The released reference detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.declarations import SERVICES
from services.perception.detection.training.nanodet.release import NAME
from shared.runtime.models.registry import newest_folder
from shared.runtime.models.sessions import OnnxModel


@pytest.fixture(scope="package")
def released() -> Path:
    """Its folder."""
    return newest_folder(SERVICES / "perception" / "models", NAME)


@pytest.fixture(scope="package")
def detector(released: Path) -> OnnxModel:
    """The released file, opened."""
    return OnnxModel.open(released, threads=1)
