"""Released captioners of random weights, opened as a service opens them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.perception.captioning.captioners import Captioner, Captioners
from shared.runtime.models.registry import ModelRegistry
from tests.support.captioners import release_tiny


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a domain with one captioner of each kind."""
    models = tmp_path_factory.mktemp("captioners")
    release_tiny(models, "tiny-lstm")
    release_tiny(models, "tiny-transformer", decoder="transformer")
    return models


@pytest.fixture(scope="session")
def captioner(released: Path) -> Callable[[str], Captioner]:
    """Finds a captioner by the name of its decoder's kind."""
    registry = ModelRegistry(released, threads=1)
    registry.open()
    known = Captioners()
    return lambda kind: known.find(registry, f"tiny-{kind}")
