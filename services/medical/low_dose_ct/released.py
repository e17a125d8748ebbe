"""The released models of the medical service, or those that the operator put in their place (`FACET_MODELS`)."""

from __future__ import annotations

from pathlib import Path

from shared.runtime.models.registry import newest_folder
from shared.runtime.models.sessions import OnnxModel
from shared.settings import get_settings

MODELS = Path(__file__).parents[1] / "models"
"""Models released with the code."""


def open_model(name: str, *, threads: int | None = None) -> OnnxModel:
    """Open the newest version of a model.

    Args:
        name: such as `low-dose-ct`.
        threads: threads that one run computes with; the setting `inference_threads` by default.

    Raises:
        FileNotFoundError: there is no such model.
        DigestMismatch: its weights are not those of its card.
    """
    settings = get_settings()
    folder = newest_folder(settings.models_folder("medical", beside=MODELS), name)
    return OnnxModel.open(folder, threads=threads or settings.inference_threads)
