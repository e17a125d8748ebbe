"""Scores, quantiles and p-values as one writes them first: plain Python, one item and one label at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

Row = Sequence[float]


def softmax(row: Row) -> list[float]:
    parts = [math.exp(value - max(row)) for value in row]
    return [part / math.fsum(parts) for part in parts]


def rank(row: Row, label: int) -> int:
    """From 0; equal values share the best."""
    return sum(value > row[label] for value in row)


def thr(row: Row, label: int, number: float) -> float:
    return 1 - softmax(row)[label]


def aps(row: Row, label: int, number: float) -> float:
    probabilities = softmax(row)
    larger = math.fsum(p for p, value in zip(probabilities, row, strict=True) if value > row[label])
    return larger + probabilities[label] - number * probabilities[label]


def raps(row: Row, label: int, number: float, penalty: float = 0.1, free_ranks: int = 2) -> float:
    return aps(row, label, number) + penalty * max(0, rank(row, label) + 1 - free_ranks)


def saps(row: Row, label: int, number: float, weight: float = 0.2) -> float:
    largest = max(softmax(row))
    place = rank(row, label)
    return (1 - number) * largest if place == 0 else largest + weight * (place - number)


def topk(row: Row, label: int, number: float) -> float:
    return rank(row, label) + 1 - number


def margin(row: Row, label: int, number: float) -> float:
    probabilities = softmax(row)
    return max(p for other, p in enumerate(probabilities) if other != label) - probabilities[label]


def entmax(gamma: float) -> Callable[[Row, int, float], float]:
    def score(row: Row, label: int, number: float) -> float:
        gaps = [value - row[label] for value in row if value > row[label]]
        if gamma == 1:
            return max(gaps, default=0.0)
        delta = 1 / (gamma - 1)
        return float(math.fsum(gap**delta for gap in gaps) ** (1 / delta))

    return score


def knn(row: Row, label: int, features: Sequence[Row], labels: Sequence[int], neighbours: int, norm: float) -> float:
    def distance(other: Row) -> float:
        return float(math.fsum(abs(a - b) ** norm for a, b in zip(row, other, strict=True)) ** (1 / norm))

    pairs = list(zip(features, labels, strict=True))
    same = sorted(distance(one) for one, other in pairs if other == label)
    different = sorted(distance(one) for one, other in pairs if other != label)
    if len(same) < neighbours:
        return math.inf
    above, below = math.fsum(same[:neighbours]), math.fsum(different[:neighbours])
    return 1.0 if above == below == 0 else math.inf if below == 0 else above / below


def quantile(scores: Sequence[float], alpha: str) -> float:
    """The smallest score with a share of at least (1 - alpha)(n + 1) / n at or below it."""
    level = Fraction(alpha)
    for score in sorted(scores):
        if sum(one <= score for one in scores) >= (1 - level) * (len(scores) + 1):
            return score
    return math.inf


def weighted_quantile(scores: Sequence[float], weights: Sequence[float], own: float, alpha: str) -> float:
    """Exact rationals: the smallest score with weight enough at or below it, the own weight sitting at infinity."""
    masses = [Fraction(weight) for weight in weights]
    total = sum(masses) + Fraction(own)
    for score in sorted(scores):
        if sum(m for one, m in zip(scores, masses, strict=True) if one <= score) >= (1 - Fraction(alpha)) * total:
            return score
    return math.inf


def p_value(calibration: Sequence[float], score: float, share: float = 1.0) -> float:
    larger, equal = sum(one > score for one in calibration), sum(one == score for one in calibration)
    return (larger + share * (equal + 1)) / (len(calibration) + 1)
