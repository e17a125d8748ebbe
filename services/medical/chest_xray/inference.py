"""From films to what the network says of them: prepare, run, check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.films import Film, Pixels, Prepared
from services.medical.chest_xray.models import ChestModel
from services.medical.chest_xray.roles import ATTENTION, CLASSES, EVIDENCE, FILM, FRONTAL, LOGITS, OPACITY
from shared.fleet.classifiers import softmax
from shared.inference_protocol.failures import computation_failures
from shared.problems import Problem, field_problem
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.inspection.failure_reasons import reason_of

ROWS: Final = 4
"""Films of one run, unless the model's card says otherwise."""

_SUM_TOLERANCE: Final = 1e-2


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network says of one film.

    Attributes:
        film: as it was posted.
        prepared: as the network saw it.
        logits: float32 (3,), in the order of CLASSES, divided by the temperature.
        opacity: calibrated logit of an opacity of the lung.
        frontal: logit of a frontal film of a chest.
        density: float32 (H, W) of the network, sums to 1.
        evidence: float32 (3, h, w), by class.
    """

    film: Film
    prepared: Prepared
    logits: NDArray[np.float32]
    opacity: float
    frontal: float
    density: Pixels
    evidence: Pixels

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Calibrated probabilities (3,) in the order of CLASSES."""
        return softmax(self.logits)

    @property
    def opacity_probability(self) -> float:
        """Calibrated probability of an opacity."""
        return sigmoid(self.opacity)

    @property
    def most_probable(self) -> int:
        """Number of the most probable class."""
        return int(self.logits.argmax())

    @cached_property
    def attention(self) -> Pixels:
        """Predicted attention on the film's grid, float32 (rows, columns), sums to 1.

        Raises:
            UnprocessableContent: the model puts nothing on the film, but all of it on the bars around.
        """
        try:
            return self.prepared.to_film_grid(self.density)
        except ValueError:
            raise field_problem("/body/model", "The model predicts attention for nothing on the film.") from None

    def evidence_map(self, label: int) -> Pixels:
        """What speaks for a class, on the film's grid: Grad-CAM with its rectifier, over its maximum; in [0, 1]."""
        positive = np.maximum(self.prepared.to_film_grid(self.evidence[label], density=False), 0)
        highest = float(positive.max())
        return np.asarray(positive / np.float32(highest or 1), np.float32)


def sigmoid(logit: float) -> float:
    """The probability of a logit."""
    return float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))


async def read_films(films: Sequence[tuple[Film, Prepared]], model: ChestModel, *, batchers: Batchers) -> list[Reading]:
    """What the network says of some films; those of one run are computed with what others ask of it meanwhile.

    Raises:
        UnprocessableContent: the model cannot compute them, or answers something else than its card promises.
        ServiceUnavailable: too many wait for the model.
    """
    rows = model.model.card.runtime.batch_rows or ROWS
    found: list[Reading] = []
    for start in range(0, len(films), rows):
        part = films[start : start + rows]
        try:
            answered = await batchers.infer(model.model, _inputs(part))
        except computation_failures() as failure:
            raise failed(model, reason_of(failure)) from None
        found += _readings(part, dict(zip(model.outputs, answered, strict=True)), model)
    return found


def read_film_blocking(film: Film, prepared: Prepared, model: ChestModel) -> Reading:
    """The same of one film without a batcher, for jobs. Blocks."""
    part = [(film, prepared)]
    try:
        answered = model.model.run(_inputs(part))
    except computation_failures() as failure:
        raise failed(model, reason_of(failure)) from None
    return _readings(part, dict(zip(model.outputs, answered, strict=True)), model)[0]


def failed(model: ChestModel, reason: str) -> Problem:
    """What is said of a model that does not compute what its card promises."""
    return field_problem("/body/model", f"{model.reference.name} fails on this film: {reason}.")


def _inputs(part: Sequence[tuple[Film, Prepared]]) -> dict[str, NDArray[np.float32]]:
    return {FILM: np.stack([prepared.array for _, prepared in part])[:, None]}


def _readings(
    part: Sequence[tuple[Film, Prepared]], answered: Mapping[str, NDArray[Any]], model: ChestModel
) -> list[Reading]:
    _require_answer(answered, len(part), model)
    return [
        Reading(
            film=film,
            prepared=prepared,
            logits=answered[LOGITS][index],
            opacity=float(answered[OPACITY][index]),
            frontal=float(answered[FRONTAL][index]),
            density=answered[ATTENTION][index],
            evidence=answered[EVIDENCE][index],
        )
        for index, (film, prepared) in enumerate(part)
    ]


def _require_answer(answered: Mapping[str, NDArray[Any]], count: int, model: ChestModel) -> None:
    """Check what an uploaded model answers: nobody has measured whether it keeps its word."""
    classes, evidence = len(CLASSES), answered[EVIDENCE]
    wanted = {LOGITS: (count, classes), OPACITY: (count,), FRONTAL: (count,), ATTENTION: (count, *model.role.size)}
    for name, shape in wanted.items():
        if answered[name].shape != shape:
            raise failed(model, f"its {name} have the shape {answered[name].shape}, not {shape}")
    if evidence.ndim != 4 or evidence.shape[:2] != (count, classes) or 0 in evidence.shape:
        raise failed(model, f"its {EVIDENCE} have the shape {evidence.shape}, not ({count}, {classes}, h, w)")
    for name, array in answered.items():
        if not np.isfinite(array).all():
            raise failed(model, f"its {name} are not finite")
    attention = answered[ATTENTION]
    sums = attention.sum(axis=(1, 2), dtype=np.float64)
    if float(attention.min()) < 0 or float(np.abs(sums - 1).max()) > _SUM_TOLERANCE:
        raise failed(model, f"its {ATTENTION} is no density, which is at least 0 and 1 in sum")
