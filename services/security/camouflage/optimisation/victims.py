"""Detectors that are attacked with their gradient: a released or uploaded file, frozen, as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.security.camouflage.detection.vehicles import vehicle_labels
from services.security.camouflage.optimisation.graphs.folding import UnusableGraph, fold
from services.security.camouflage.optimisation.graphs.functions import GraphFunction
from services.security.camouflage.optimisation.letterboxing import Letterbox
from shared.detectors.letterboxing import Size
from shared.detectors.models import buckets_of, require_role
from shared.detectors.roles import IMAGE, SCORES
from shared.problems import Problem, field_problem
from shared.runtime.cards import UploadedCard
from shared.runtime.inspection.preparation import prepare
from shared.runtime.inspection.verification import MOST_BYTES, Refused, verify
from shared.runtime.session_options import session_options

POINTER: Final = "/body/victim"
"""The field that names a victim."""

_AGREEMENT: Final = 1e-3
_COMPARED: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All regions that a detector speaks of, before any threshold and any suppression.

    A picture that has fewer of them than others has regions of score 0 and no area behind its own.

    Attributes:
        boxes: (pictures, regions, 4), left, top, right and bottom edge in pixels of the pictures, within them; without
            a gradient.
        scores: (pictures, regions) in [0, 1], of each region's surest class of vehicles; the gradient flows to the
            pictures.
    """

    boxes: Tensor
    scores: Tensor


class Victim:
    """A frozen detector of vehicles, as a differentiable function of pictures of one size.

    Args:
        card: of it.
        graph: of it, for the bucket.
        letterbox: for the pictures.
        labels: its classes of vehicles.

    Attributes:
        name: of the model.
        version: of it.
        digest: SHA-256 of its file, hexadecimal.
        graph: as given.
        letterbox: as given.
    """

    def __init__(self, card: UploadedCard, graph: GraphFunction, letterbox: Letterbox, labels: Sequence[int]) -> None:
        self.name, self.version, self.digest = card.name, card.version, card.weights.sha256
        self.graph, self.letterbox = graph, letterbox
        self._labels = torch.tensor(labels)

    def weights_digest(self) -> str:
        """SHA-256 of the weights in memory: an attack leaves it as it was."""
        return self.graph.digest()

    def see(self, pictures: Tensor) -> Candidates:
        """What the detector says of pictures.

        Args:
            pictures: (n, 3, height, width), sRGB in [0, 1], of the size that the victim was opened for.

        Raises:
            ValueError: they are of another size.
        """
        found = [self._read(*answer) for answer in self.graph.each(self.letterbox.lay(pictures))]
        most = max(len(scores) for _, scores in found)
        return Candidates(
            torch.stack([functional.pad(boxes, (0, 0, 0, most - len(boxes))) for boxes, _ in found]),
            torch.stack([functional.pad(scores, (0, most - len(scores))) for _, scores in found]),
        )

    def _read(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (regions, 4) in pixels of the picture and scores (regions,) of one picture's answer."""
        surest = scores[:, self._labels].clamp(0, 1).max(dim=1)
        if boxes.ndim == 3:
            boxes = boxes[torch.arange(len(boxes)), self._labels[surest.indices]]
        return self.letterbox.to_pictures(boxes.detach()), surest.values


def open_victim(
    card: UploadedCard, weights: bytes, *, side: int, precision: torch.dtype = torch.float32, pointer: str = POINTER
) -> Victim:
    """A detector to be attacked. Blocks for half a second.

    Args:
        card: of the detector; of a released or an uploaded one.
        weights: its ONNX file.
        side: of the pictures, which are square.
        precision: of the computation; pictures are of the same.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: it is no detector, finds no vehicles, or its graph has operators that are not
            differentiated here; the detail names them.
    """
    try:
        role = require_role(card)
        letterbox = Letterbox(Size(side, side), buckets_of(card, role))
        content = prepare(weights, verify(weights, card, most_bytes=max(MOST_BYTES, len(weights))))
    except (Problem, Refused) as error:
        raise field_problem(pointer, str(error)) from None
    labels = vehicle_labels(role.classes, model=card.name, pointer=pointer)
    shape = (1, 3, letterbox.bucket.height, letterbox.bucket.width)
    try:
        graph = GraphFunction(fold(content, shape), precision=precision)
        _require_agreement(graph, content, shape)
    except UnusableGraph as error:
        raise field_problem(pointer, f"{card.name} cannot be attacked with its gradient: {error}.") from None
    return Victim(card, graph, letterbox, labels)


def _require_agreement(graph: GraphFunction, content: bytes, shape: Sequence[int]) -> None:
    """Compare the surest scores of noise with those of onnxruntime, and find out whether pictures go side by side.

    Raises:
        UnusableGraph: they differ, or it cannot be computed.
    """
    noise = np.random.default_rng(0).random((2, *shape[1:]), np.float32)
    session = onnxruntime.InferenceSession(content, session_options(1), providers=["CPUExecutionProvider"])
    wanted = [_surest(session.run([SCORES], {IMAGE: one[None]})[0]) for one in noise]
    pictures = torch.from_numpy(noise).to(graph.precision)
    with torch.no_grad():
        try:
            found = graph.each(pictures)
        except (RuntimeError, UnusableGraph):
            graph.batches = False
            found = graph.each(pictures)
    for (_, scores), expected in zip(found, wanted, strict=True):
        differences = np.abs(_surest(scores.numpy())[: len(expected)] - expected[: scores.numel()])
        if not (differences <= _AGREEMENT).all():
            raise UnusableGraph(f"its scores differ from those of onnxruntime by {differences.max():.2g}")


def _surest(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.sort(scores, axis=None)[::-1][:_COMPARED]
