"""What a classifier says at nominal and at low voltage, of pictures as they are and as a generator makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.bit_errors.faults import FaultModel
from services.security.neuralfuse.networks import Network, ReadWeights
from shared.problems import field_problem
from shared.telemetry.timing import timed

PIXELS_OF_A_RUN: Final = 2**18
"""Most pixels of all pictures of one run, so that many pictures take the memory of few."""

ReadFaulty = Callable[[int], ReadWeights]
"""Weights through the faulty cells of a chip, by its seed."""


@dataclass(frozen=True, slots=True)
class VoltageScores:
    """Probabilities of one way of asking: of pictures as they are, or of transformed ones.

    Attributes:
        nominal: float32 (pictures, classes), without bit errors.
        low: float32 (seeds, pictures, classes), one chip after the other.
    """

    nominal: NDArray[np.float32]
    low: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ProtectedScores:
    """All that a request is answered with.

    Attributes:
        seeds: of the chips.
        faults: of their memories.
        flip_rate: share of bits that were read otherwise than written, mean over the chips.
        unprotected: of the pictures as they are.
        protected: of the transformed ones; None without a generator.
    """

    seeds: Sequence[int]
    faults: FaultModel
    flip_rate: float
    unprotected: VoltageScores
    protected: VoltageScores | None


def require_affordable(network: Network, *, pictures: int, seeds: int, ways: int, most_macs: float) -> None:
    """Refuse what would take too long, before anything is computed.

    Args:
        network: the classifier.
        pictures: of the request.
        seeds: of the request.
        ways: 2 with a generator, 1 without.
        most_macs: of one request.

    Raises:
        UnprocessableContent: says what it would cost.
    """
    runs = pictures * (seeds + 1) * ways
    cost = runs * (network.macs or network.memory.count)
    if cost > most_macs:
        raise field_problem(
            "/body/seeds",
            f"{pictures} pictures, {seeds} seeds and nominal voltage, {ways} ways: {runs} runs of "
            f"{network.description.reference.name} take {cost / 1e9:.0f} billion multiply-accumulates; at most "
            f"{most_macs / 1e9:.0f} are done for one request. Send fewer pictures or name fewer seeds.",
        )


def predict(
    network: Network,
    pictures: NDArray[np.float32],
    transformed: NDArray[np.float32] | None,
    *,
    faults: FaultModel,
    seeds: Sequence[int],
    read: ReadFaulty,
) -> ProtectedScores:
    """Run the classifier without bit errors and with those of each chip. Blocks.

    Args:
        network: the classifier.
        pictures: float32 in [0, 1], (count, 3, height, width).
        transformed: the same as a generator makes them; None without one.
        faults: of the memories.
        seeds: of the chips.
        read: gives the weights of a chip.

    Raises:
        Interrupted: the caller went away.
    """
    rows = pictures if transformed is None else np.concatenate([pictures, transformed])
    low, flip_rates = [], []
    with timed("infer"):
        nominal = _run(network, rows, network.read(None))
        for seed in seeds:
            weights = read(seed)
            low.append(_run(network, rows, weights))
            flip_rates.append(weights.flip_rate)
    count, stacked = len(pictures), np.stack(low)
    return ProtectedScores(
        seeds=seeds,
        faults=faults,
        flip_rate=float(np.mean(flip_rates)),
        unprotected=VoltageScores(nominal[:count], stacked[:, :count]),
        protected=None if transformed is None else VoltageScores(nominal[count:], stacked[:, count:]),
    )


def _run(network: Network, rows: NDArray[np.float32], weights: ReadWeights) -> NDArray[np.float32]:
    size = max(1, PIXELS_OF_A_RUN // (network.description.height * network.description.width))
    parts = [network.probabilities(rows[start : start + size], weights) for start in range(0, len(rows), size)]
    probabilities = np.concatenate(parts)
    # Weights with bit errors may overflow: a picture of which nothing can be said has no probability for any class.
    return np.nan_to_num(probabilities, nan=0.0, posinf=0.0, neginf=0.0)
