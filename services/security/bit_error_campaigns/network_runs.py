"""Runs the networks of a campaign over its pictures, in chunks that end with a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from services.security.bit_error_campaigns.plan import Condition
from services.security.bit_errors.faults import ALL_BITS, FaultKind, FaultModel, Layout
from services.security.bit_errors.perturbed_sessions import PerturbedClassifier, Weights
from services.security.bit_errors.weight_memory import WeightMemory

CHUNK_S: Final = 0.5
"""Least seconds of work between two checkpoints: what a lost worker costs."""


class Progress(BaseModel):
    """What has been evaluated: the checkpoint of a campaign.

    Conditions are evaluated one after another, so that the number of pictures that were evaluated says where to go on.
    """

    way: str = Field(description="How weights are exchanged; chosen once, as its scores differ by rounding")
    network_s: dict[str, float] = Field(description="Seconds of one network, as measured, by way")
    pictures: int = Field(description="That each network classifies")
    correct: list[int] = Field(default_factory=list, description="By condition; the last one may be unfinished")
    not_finite: list[int] = Field(default_factory=list, description="Pictures whose scores were NaN or infinite")
    evaluated: int = Field(default=0, description="Pictures of all networks")
    by_attempt: dict[str, int] = Field(default_factory=dict, description="Of these, by attempt of the job")
    seconds: float = Field(default=0.0, description="Of all evaluations")

    @property
    def condition(self) -> int:
        """The condition to go on with."""
        return self.evaluated // self.pictures

    @property
    def picture(self) -> int:
        """The picture to go on with."""
        return self.evaluated % self.pictures

    def add(self, attempt: int, count: int, correct: int, not_finite: int, seconds: float) -> None:
        """Record a chunk of the current condition."""
        if self.condition == len(self.correct):
            self.correct.append(0)
            self.not_finite.append(0)
        self.correct[-1] += correct
        self.not_finite[-1] += not_finite
        self.evaluated += count
        self.by_attempt[str(attempt)] = self.by_attempt.get(str(attempt), 0) + count
        self.seconds += seconds


class NetworkRuns:
    """The networks and pictures of a campaign.

    Args:
        conditions: the networks.
        memory: weights that fail.
        stated: weights as the model states them.
        classifier: takes weights and classifies.
        pictures: (count, ...) as the classifier takes them.
        labels: int64 (count,).
        batch: pictures of one run.
        fixed: whether the graph takes no other number of them.
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        memory: WeightMemory,
        stated: Weights,
        classifier: PerturbedClassifier,
        pictures: NDArray[Any],
        labels: NDArray[np.int64],
        *,
        batch: int,
        fixed: bool,
        kind: FaultKind,
        layout: Layout,
    ) -> None:
        self._conditions, self._memory, self._stated, self._classifier = conditions, memory, stated, classifier
        self._pictures, self._labels, self._batch, self._fixed = pictures, labels, batch, fixed
        self._kind, self._layout = kind, layout

    @property
    def evaluations(self) -> int:
        """Of the whole campaign."""
        return len(self._conditions) * len(self._pictures)

    def run(self, progress: Progress, *, attempt: int, pause: Callable[[Condition], None]) -> Iterator[Condition]:
        """Evaluate what is not recorded yet.

        Args:
            progress: what is; added to.
            attempt: number of the attempt of the job.
            pause: called before each batch; may raise.

        Yields:
            The condition at hand, each time that enough has been recorded for a checkpoint, and at the end.
        """
        began = time.perf_counter()
        while progress.condition < len(self._conditions):
            condition = self._conditions[progress.condition]
            mark = time.perf_counter()
            self._classifier.load(self._weights(condition))
            while True:
                pause(condition)
                start = progress.picture
                count, correct, not_finite = self._classify(start)
                now = time.perf_counter()
                progress.add(attempt, count, correct, not_finite, now - mark)
                if now - began >= CHUNK_S:
                    yield condition
                    now = began = time.perf_counter()
                mark = now
                if progress.picture == 0:
                    break
        yield self._conditions[-1]

    def _classify(self, start: int) -> tuple[int, int, int]:
        """Pictures of one batch, of these the right ones, and those without finite scores, which are wrong."""
        pictures = self._pictures[start : start + self._batch]
        count = len(pictures)
        if self._fixed and count < self._batch:
            pictures = np.concatenate([pictures, np.repeat(pictures[-1:], self._batch - count, axis=0)])
        scores = self._classifier.run(pictures)[:count].reshape(count, -1)
        finite = np.isfinite(scores).all(axis=1)
        right = (scores.argmax(axis=1) == self._labels[start : start + count]) & finite
        return count, int(right.sum()), count - int(finite.sum())

    def _weights(self, condition: Condition) -> Mapping[str, NDArray[Any]]:
        if not condition.stored:
            return self._stated
        if condition.analysis == "baseline":
            return self._memory.read_faultless()
        bits = ALL_BITS if condition.bit is None else (condition.bit,)
        faults = FaultModel(condition.rate, self._kind, self._layout, bits)
        layers = None if condition.layer is None else (condition.layer,)
        return self._memory.perturbed(faults, condition.seed, layers)
