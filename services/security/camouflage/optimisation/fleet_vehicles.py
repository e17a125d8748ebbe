"""A detector of the fleet that is only asked what vehicles it finds, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.vehicles import vehicle_labels
from shared.detectors.detections import Detections
from shared.detectors.inference import Selection, detect_blocking, see
from shared.detectors.models import read_detector
from shared.fleet.artifacts import ModelArtifact
from shared.runtime.inspection.preparation import prepare
from shared.runtime.inspection.verification import MOST_BYTES, verify
from shared.runtime.sessions import OnnxModel

_LEAST_SCORE: Final = 0.05
"""Below every threshold of a report."""


class FleetVehicles:
    """Asks one detector.

    Args:
        artifact: of it.
        threads: that one picture is computed with.

    Raises:
        UnprocessableContent: it is no detector of vehicles.
    """

    def __init__(self, artifact: ModelArtifact, *, threads: int) -> None:
        card, content = artifact.card, artifact.read()
        verified = verify(content, card, most_bytes=max(MOST_BYTES, len(content)))
        self._detector = read_detector(OnnxModel(card, prepare(content, verified), threads=threads))
        role = self._detector.role
        labels = vehicle_labels(role.classes, model=card.name, pointer="/body/transfer")
        self._selection = Selection(_LEAST_SCORE, role.iou_threshold, role.limit, frozenset(labels))

    @property
    def name(self) -> str:
        """Of the detector."""
        return self._detector.reference.name

    def find(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Vehicles on each picture, uint8 RGB (height, width, 3), after suppression."""
        return [detect_blocking(see(one, self._detector), self._detector, self._selection) for one in pictures]
