"""The detectors and the diffusion model of an evaluation: released ones, and a fine-tuned one that a folder holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from services.released import released_folders
from services.security.camouflage.detection.detectors import ModelDetector
from services.security.camouflage.detection.fleet_detectors import PRIOR
from services.security.camouflage.evaluation.experiments import HARDENED
from services.security.camouflage.optimisation.victims import Victim, open_victim
from shared.runtime.cards import UploadedCard, read_card, read_weights
from shared.runtime.models.version_routing import by_number
from shared.settings import Settings

_POINTER = "/model"


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model.

    Attributes:
        card: of it.
        weights: its ONNX file.
    """

    card: UploadedCard
    weights: bytes

    def detector(self, threads: int) -> ModelDetector:
        """It as a black box."""
        return ModelDetector(self.card, self.weights, threads=threads, pointer=_POINTER)

    def victim(self, side: int) -> Victim:
        """It as a function with gradients, of pictures of a side."""
        return open_victim(self.card, self.weights, side=side, pointer=_POINTER)


class ModelShelf:
    """Finds models by name, the newest version of each; uploads of a fleet that happens to run are left out.

    Args:
        settings: where released models are.
        hardened: folder with `card.json` and `detector.onnx` of the fine-tuned detector, as hardening leaves them and
            the job of `/v1/perception/adaptations` does.
    """

    def __init__(self, settings: Settings, hardened: Path | None = None) -> None:
        self._folders = [folder for folders in released_folders(settings).values() for folder in folders]
        self._hardened = hardened
        self.find = cache(self._find)

    @property
    def has_prior(self) -> bool:
        """Whether the diffusion model is released."""
        return self._release(PRIOR) is not None

    @property
    def has_hardened(self) -> bool:
        """Whether there is a fine-tuned detector."""
        return self._hardened is not None

    def read_hardening(self) -> dict[str, Any]:
        """What is known of the fine-tuning: steps, sets, figures on frames without textures; empty without a file."""
        file = None if self._hardened is None else self._hardened / "hardening.json"
        found: dict[str, Any] = {} if file is None or not file.exists() else json.loads(file.read_bytes())
        return found

    def _find(self, name: str) -> EvaluatedModel:
        """A model.

        Raises:
            LookupError: there is none of this name.
        """
        if name == HARDENED and self._hardened is not None:
            card = UploadedCard.model_validate_json((self._hardened / "card.json").read_bytes())
            return EvaluatedModel(card, (self._hardened / "detector.onnx").read_bytes())
        folder = self._release(name)
        if folder is None:
            raise LookupError(f"there is no model {name}")
        released = read_card(folder)
        return EvaluatedModel(released, read_weights(folder, released))

    def _release(self, name: str) -> Path | None:
        versions = [path.parent for folder in self._folders for path in folder.glob(f"{name}/*/card.json")]
        return max(versions, key=lambda one: by_number(one.name), default=None)
