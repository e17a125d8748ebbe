"""Detectors of vehicles as black boxes: what they find in pictures, however they are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from services.released import released_folders
from services.security.camouflage.detection.vehicles import is_vehicle, vehicle_labels
from shared.detectors.detections import Detections, suppress_overlaps
from shared.detectors.inference import Selection, detect_blocking, see
from shared.detectors.models import read_detector
from shared.detectors.roles import MOST_DETECTIONS
from shared.fleet.artifacts import model_artifact
from shared.fleet.client import BlockingFleetClient
from shared.fleet.questions import Question
from shared.imaging.pictures import encode_png
from shared.problems import BadGateway, Conflict, NotFound, Problem, field_problem
from shared.runtime.cards import ModelReference, UploadedCard
from shared.runtime.inspection.preparation import prepare
from shared.runtime.inspection.verification import MOST_BYTES, Refused, verify
from shared.runtime.models.sessions import OnnxModel
from shared.settings import Settings

LEAST_SCORE: Final = 0.01
"""Of what is looked at: average precision follows a detector to where it is unsure."""

FLEET_PATH: Final = "/v1/perception/detections"
_FLEET_BATCH: Final = 16

Picture = NDArray[np.uint8]
"""sRGB, (height, width, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Vehicles that a detector found in a picture, the surest first, after suppression.

    Attributes:
        boxes: float32 (n, 4), left, top, right and bottom edge in pixels of the picture.
        scores: float32 (n,) in [0, 1].
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


class VehicleDetector(Protocol):
    """A detector as a black box.

    Attributes:
        name: as reports name it.
    """

    @property
    def name(self) -> str:
        """As reports name it."""

    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """The vehicles of each picture, in order.

        Raises:
            Problem: the detector does not answer.
        """


def merge_classes(boxes: NDArray[np.floating], scores: NDArray[np.floating], *, iou_threshold: float) -> Found:
    """Vehicles of several classes as vehicles: a car that is found as a truck, too, is found once.

    Args:
        boxes: (n, 4).
        scores: (n,).
        iou_threshold: overlap above which the less sure of two boxes goes.
    """
    found = Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32), np.zeros(len(scores), np.int64)
    )
    kept = suppress_overlaps(found, iou_threshold=iou_threshold)
    return Found(kept.boxes, kept.scores)


def find_model(
    settings: Settings, name: str, *, version: str | None = None, pointer: str
) -> tuple[UploadedCard, bytes]:
    """Card and file of a detector of the fleet, released or uploaded; what a victim is opened with, too. Blocks.

    Args:
        settings: where models are.
        name: of the model.
        version: a version, the beginning of one or an alias; the default unless given.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: there is none.
        ServiceUnavailable: nobody can say which models were uploaded, or the file cannot be read.
    """
    try:
        artifact = model_artifact(settings, released_folders(settings), name, version)
    except NotFound as problem:
        raise field_problem(pointer, str(problem)) from None
    return artifact.card, artifact.read()


class ModelDetector:
    """A detector of the fleet by its file, in this process.

    Args:
        card: of it.
        weights: its ONNX file.
        threads: that it computes with.
        pointer: the field to blame.

    Attributes:
        name: of the model, with its version.
        reference: its name, version and digest.
        score_threshold: from which score on its card would have it answer.

    Raises:
        UnprocessableContent: it is no detector, finds no vehicles, or its file is not the one of its card.
    """

    def __init__(self, card: UploadedCard, weights: bytes, *, threads: int, pointer: str) -> None:
        try:
            content = prepare(weights, verify(weights, card, most_bytes=max(MOST_BYTES, len(weights))))
            self._detector = read_detector(OnnxModel(card, content, threads=threads))
        except (Problem, Refused) as error:
            raise field_problem(pointer, str(error)) from None
        role = self._detector.role
        labels = vehicle_labels(role.classes, model=card.name, pointer=pointer)
        self._selection = Selection(LEAST_SCORE, role.iou_threshold, MOST_DETECTIONS, frozenset(labels))
        self.name = f"{card.name} {card.version}"
        self.reference = self._detector.reference
        self.score_threshold = role.score_threshold

    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """As `VehicleDetector.find`."""
        found = [detect_blocking(see(picture, self._detector), self._detector, self._selection) for picture in pictures]
        return [merge_classes(one.boxes, one.scores, iou_threshold=self._selection.iou_threshold) for one in found]


class FleetDetector:
    """A detector of the fleet over HTTP, as anybody else would ask it.

    Args:
        client: of the service that has it; its budget counts the pictures.
        model: its name; None for the default.

    Attributes:
        reference: which model has answered; None before the first answer.
    """

    def __init__(self, client: BlockingFleetClient, model: str | None = None) -> None:
        self._client, self._model = client, model
        self.reference: ModelReference | None = None

    @property
    def name(self) -> str:
        """Of the model, with its version as soon as it has answered."""
        if self.reference is None:
            return self._model or "the fleet's default detector"
        return f"{self.reference.name} {self.reference.version}"

    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """As `VehicleDetector.find`.

        Raises:
            BudgetExhausted: it may not be asked any further.
            Conflict: the detector is another one than before.
            Problem: the service's own, or that it does not answer.
        """
        found: list[Found] = []
        for start in range(0, len(pictures), _FLEET_BATCH):
            found += self._ask(pictures[start : start + _FLEET_BATCH])
        return found

    def _ask(self, pictures: Sequence[Picture]) -> list[Found]:
        form = {"score_threshold": str(LEAST_SCORE), "limit": str(MOST_DETECTIONS)}
        files = [("file", encode_png(picture, level=1)) for picture in pictures]
        named = {} if self._model is None else {"model": self._model}
        question = Question(path=FLEET_PATH, files=files, form={**form, **named}, queries=len(pictures))
        content = self._client.ask(question).content
        try:
            answer = orjson.loads(content)
            reference = ModelReference.model_validate(answer["model"])
            overlap = float(answer["selection"]["iou_threshold"])
            found = [_read_objects(picture["detections"], overlap) for picture in answer["pictures"]]
        except (ValueError, KeyError, TypeError) as error:
            raise BadGateway("The detector of the fleet gave an answer that cannot be read.") from error
        if len(found) != len(pictures):
            raise BadGateway(f"The detector of the fleet answered about {len(found)} of {len(pictures)} pictures.")
        if self.reference not in (None, reference):
            raise Conflict("The detector was replaced while it was tested: nothing that was found holds for both.")
        self.reference = reference
        return found


def _read_objects(objects: Sequence[dict[str, Any]], iou_threshold: float) -> Found:
    vehicles = [one for one in objects if is_vehicle(one["class_name"])]
    boxes = np.array([one["box"] for one in vehicles], np.float32)
    return merge_classes(boxes, np.array([one["score"] for one in vehicles]), iou_threshold=iou_threshold)
