"""Networks run in chunks: nothing recorded is evaluated again, fixed batches are filled, broken scores are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.security.bit_error_campaigns import network_runs as module
from services.security.bit_error_campaigns.network_runs import NetworkRuns, Progress
from services.security.bit_error_campaigns.plan import Condition
from services.security.bit_errors.perturbed_sessions import SessionPerNetwork, Signature
from services.security.bit_errors.weight_memory import WeightMemory, read_stated
from tests.support.weight_graphs import CLASSES, convolutional, pictures

MODEL = convolutional()
COUNT = 23
PICTURES = pictures(COUNT)
LABELS = np.arange(COUNT) % CLASSES
CONDITIONS = [
    Condition("baseline", stored=False),
    Condition("baseline"),
    *(Condition("curve", 0.2, seed) for seed in range(4)),
    Condition("layers", 0.2, 1, layer="conv"),
    Condition("bits", 0.2, 1, bit=7),
]


class Counting(SessionPerNetwork):
    """Counts the pictures that it is shown, by the weights that it has."""

    def __init__(self) -> None:
        super().__init__(MODEL, WeightMemory.read(MODEL), Signature("pictures", "logits"), threads=1)
        self.shown: list[tuple[float, int]] = []
        self._mark = 0.0

    def load(self, weights: Any) -> None:
        self._mark = float(sum(np.abs(array).sum() for array in weights.values()))
        super().load(weights)

    def run(self, batch: Any) -> Any:
        self.shown += [(self._mark, int(one.sum() * 1e6)) for one in batch]
        return super().run(batch)


def nothing(_: Condition) -> None:
    """Never stops."""


def evaluate(
    progress: Progress, classifier: Any, *, attempt: int = 1, pause: Callable[[Condition], None] = nothing,
    batch: int = 5, fixed: bool = False, stop_after: int | None = None,
) -> None:  # fmt: skip
    runs = NetworkRuns(
        CONDITIONS, WeightMemory.read(MODEL), read_stated(MODEL), classifier, PICTURES, LABELS,
        batch=batch, fixed=fixed, kind="stuck_at", layout="iid",
    )  # fmt: skip
    assert runs.evaluations == len(CONDITIONS) * COUNT
    for number, _ in enumerate(runs.run(progress, attempt=attempt, pause=pause), 1):
        if number == stop_after:
            return


def new_progress() -> Progress:
    return Progress(way="session_per_network", network_s={}, pictures=COUNT)


@pytest.fixture
def whole() -> Progress:
    progress = new_progress()
    evaluate(progress, Counting())
    return progress


def test_everything_is_evaluated_once(whole: Progress) -> None:
    counting, progress = Counting(), new_progress()
    evaluate(progress, counting)
    assert progress.evaluated == len(counting.shown) == len(set(counting.shown)) == len(CONDITIONS) * COUNT
    assert progress.correct == whole.correct
    assert len(progress.correct) == len(progress.not_finite) == len(CONDITIONS)


@pytest.mark.parametrize("stop_after", [1, 3, 7, 12])
def test_a_resumed_campaign_repeats_nothing_that_is_recorded(
    monkeypatch: pytest.MonkeyPatch, whole: Progress, stop_after: int
) -> None:
    monkeypatch.setattr(module, "CHUNK_S", 0.0)  # a checkpoint after each batch, also within a network
    first, second, progress = Counting(), Counting(), new_progress()
    evaluate(progress, first, stop_after=stop_after)
    saved = Progress.model_validate_json(progress.model_dump_json())
    evaluate(saved, second, attempt=2)
    assert not set(first.shown) & set(second.shown)
    assert len(first.shown) + len(second.shown) == len(CONDITIONS) * COUNT
    assert saved.by_attempt == {"1": len(first.shown), "2": len(second.shown)}
    assert saved.correct == whole.correct


def test_a_batch_of_fixed_size_is_filled_up_and_counted_right(whole: Progress) -> None:
    counting, progress = Counting(), new_progress()
    evaluate(progress, counting, batch=8, fixed=True)
    assert len(counting.shown) == len(CONDITIONS) * 24
    assert progress.correct == whole.correct


def test_pause_may_stop_before_each_batch() -> None:
    def stop(condition: Condition) -> None:
        if condition.analysis == "curve":
            raise InterruptedError

    progress = new_progress()
    with pytest.raises(InterruptedError):
        evaluate(progress, Counting(), pause=stop)
    assert progress.evaluated == 2 * COUNT


class Broken:
    """Scores of every second picture are no numbers."""

    def load(self, weights: Any) -> None:
        """Nothing to load."""

    def run(self, batch: Any) -> Any:
        scores = np.zeros((len(batch), CLASSES), np.float32)
        scores[::2] = np.nan
        return scores


def test_scores_that_are_no_numbers_are_wrong_and_counted() -> None:
    progress = new_progress()
    evaluate(progress, Broken(), batch=COUNT)
    assert progress.not_finite == [12] * len(CONDITIONS)
    assert progress.correct == [int((LABELS[1::2] == 0).sum())] * len(CONDITIONS)
