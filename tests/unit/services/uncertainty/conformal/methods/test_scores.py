from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.scores import (
    APS,
    KNN,
    RAPS,
    SAPS,
    THR,
    Entmax,
    Margin,
    Score,
    TopK,
    Transform,
)
from tests.unit.services.uncertainty.conformal.methods import naive

Naive = Callable[[naive.Row, int, float], float]

PAIRS: list[tuple[Score, Naive]] = [
    (THR(), naive.thr),
    (APS(), naive.aps),
    (APS(randomised=False), lambda row, label, _: naive.aps(row, label, 0)),
    (RAPS(penalty=0.1, free_ranks=2), naive.raps),
    (SAPS(weight=0.2), naive.saps),
    (SAPS(randomised=False), lambda row, label, _: naive.saps(row, label, 0)),
    (TopK(), naive.topk),
    (Margin(), naive.margin),
    (Entmax(gamma=1.0), naive.entmax(1)),
    (Entmax(gamma=2.0), naive.entmax(2)),
    (Entmax(gamma=1.5), naive.entmax(1.5)),
    (Entmax(gamma=4.0), naive.entmax(4)),
]
SCORES = [score for score, _ in PAIRS] + [
    THR(transform=Transform.LOG_SOFTMAX),
    THR(transform=Transform.IDENTITY),
    Margin(transform=Transform.LOG_SOFTMAX),
    Margin(transform=Transform.IDENTITY),
    TopK(randomised=False),
]


@st.composite
def batches(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Logits with ties, labels and numbers."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(2, 12)))
    element = st.one_of(st.integers(-4, 4).map(float), st.floats(-40, 40, width=16))
    logits = draw(hnp.arrays(draw(st.sampled_from(["f2", "f4", "f8"])), shape, elements=element))
    labels = draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    numbers = draw(hnp.arrays(np.float64, shape[0], elements=st.floats(0, 1, exclude_max=True)))
    return logits, labels, numbers


@pytest.mark.parametrize(("score", "expected"), PAIRS, ids=lambda one: getattr(one, "__qualname__", repr(one))[:40])
@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_scores_are_the_naive_ones(score: Score, expected: Naive, batch: tuple[Any, Any, Any]) -> None:
    logits, _, numbers = batch
    rows = logits.astype(np.float64).tolist()
    all_labels = range(logits.shape[1])
    reference = [[expected(row, label, u) for label in all_labels] for row, u in zip(rows, numbers, strict=True)]
    np.testing.assert_allclose(score.of_all(logits, numbers), reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("score", SCORES, ids=lambda one: getattr(one, "__qualname__", repr(one))[:40])
@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_one_label_is_scored_as_all_are(score: Score, batch: tuple[Any, Any, Any]) -> None:
    """To the last bit, in any batch, and the input stays as it was."""
    logits, labels, numbers = batch
    before = logits.copy()
    every = score.of_all(logits, numbers)
    own = score.of_labels(logits, labels, numbers)
    np.testing.assert_array_equal(every[np.arange(len(labels)), labels], own)
    np.testing.assert_array_equal(score.of_all(logits[-1:], numbers[-1:]), every[-1:])
    np.testing.assert_array_equal(score.of_labels(logits[-1:], labels[-1:], numbers[-1:]), own[-1:])
    for cut in (own[0], np.nextafter(own[0], -np.inf), np.inf, -np.inf):
        np.testing.assert_array_equal(score.sets(logits, np.array([[cut]]), numbers), every <= cut)
    np.testing.assert_array_equal(logits, before)
    assert every.dtype == own.dtype == np.float64


@pytest.mark.parametrize("score", SCORES, ids=lambda one: getattr(one, "__qualname__", repr(one))[:40])
def test_blocks_and_threads_change_nothing(score: Score) -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(2000, 300)).astype(np.float32)
    labels, numbers = random.integers(0, 300, 2000), random.random(2000)
    whole = score.of_labels(logits, labels, numbers)
    np.testing.assert_array_equal(score.of_labels(logits, labels, numbers, threads=2), whole)
    few = slice(990, 1010)
    np.testing.assert_array_equal(score.of_labels(logits[few], labels[few], numbers[few]), whole[few])
    own = score.of_all(logits[few], numbers[few])[np.arange(20), labels[few]]
    np.testing.assert_array_equal(own, whole[few])


def test_probabilities_may_be_given() -> None:
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(9), size=40)
    numbers = random.random(40)
    for kind in (THR, Margin, APS, RAPS, SAPS, TopK):
        of_logits = kind(transform=Transform.SOFTMAX).of_all(np.log(probabilities), numbers)
        of_probabilities = kind(transform=Transform.IDENTITY).of_all(probabilities, numbers)
        np.testing.assert_allclose(of_probabilities, of_logits, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(THR(transform=Transform.LOG).of_all(probabilities), 1 - np.log(probabilities))
    assert THR(transform=Transform.LOG).of_all(np.array([[0.0, 1.0]])).tolist() == [[np.inf, 1.0]]


@pytest.mark.parametrize("rows", [[[0.9, 0.4]], [[-0.1, 1.0]]])
def test_what_is_no_probability_is_refused(rows: list[list[float]]) -> None:
    for score in (APS(transform=Transform.IDENTITY), RAPS(transform=Transform.IDENTITY)):
        with pytest.raises(ValueError, match="probabilities"):
            score.of_all(np.array(rows), np.zeros(1))
        with pytest.raises(ValueError, match="probabilities"):
            score.sets(np.array(rows), np.array([[0.5]]), np.zeros(1))


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_neighbours_are_the_naive_ones(norm: float, neighbours: int) -> None:
    random = np.random.default_rng(8)
    features, items = random.normal(size=(40, 3)).round(1), random.normal(size=(12, 3)).round(1)
    labels = np.array([0] * 20 + [1] * 15 + [2] * 3 + [3] * 2)
    items[0] = features[0]
    score = KNN(features=features, labels=labels, classes=5, neighbours=neighbours, norm=norm)
    expected = [
        [naive.knn(row, label, features.tolist(), labels.tolist(), neighbours, norm) for label in range(5)]
        for row in items.tolist()
    ]
    every = score.of_all(items)
    np.testing.assert_allclose(every, expected, rtol=1e-12)
    assert np.isinf(every[:, 4]).all()
    chosen = random.integers(0, 5, 12)
    np.testing.assert_array_equal(score.of_labels(items, chosen), every[np.arange(12), chosen])
    np.testing.assert_array_equal(score.sets(items, np.array([[1.0]])), every <= 1)


def test_cosine_neighbours_look_for_the_smallest_angle() -> None:
    """The reference sums the smallest similarities, so it finds the farthest items."""
    features, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    score = KNN(features=features, labels=labels, classes=2, norm="cosine")
    angle = 0.2
    item = np.array([[np.cos(angle), np.sin(angle)]])
    expected = (1 - np.cos(angle)) / (1 - np.sin(angle))
    np.testing.assert_allclose(score.of_all(item), [[expected, 1 / expected]])
    with pytest.raises(ValueError, match="cosine"):
        score.of_all(np.zeros((1, 2)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Entmax(gamma=0.9),
        lambda: Entmax(gamma=np.inf),
        lambda: RAPS(penalty=-1),
        lambda: RAPS(free_ranks=-1),
        lambda: SAPS(weight=0),
        lambda: APS(transform=Transform.LOG),
        lambda: KNN(features=np.zeros((2, 1)), labels=np.array([0, 3]), classes=2),
        lambda: KNN(features=np.zeros((2, 1)), labels=np.array([0, 1]), classes=2, neighbours=0),
        lambda: KNN(features=np.zeros((2, 1)), labels=np.array([0, 1]), classes=2, norm="manhattan"),
        lambda: KNN(features=np.full((2, 1), np.nan), labels=np.array([0, 1]), classes=2),
    ],
)
def test_bad_parameters_are_refused(make: Callable[[], Score]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


@pytest.mark.parametrize(
    ("inputs", "labels", "numbers"),
    [
        (np.zeros((2, 3), int), [0, 0], [0.0, 0.0]),
        (np.zeros((2, 1)), [0, 0], [0.0, 0.0]),
        (np.zeros(3), [0], [0.0]),
        (np.full((2, 3), np.nan), [0, 0], [0.0, 0.0]),
        (np.full((2, 3), np.inf), [0, 0], [0.0, 0.0]),
        (np.zeros((2, 3)), [0, 3], [0.0, 0.0]),
        (np.zeros((2, 3)), [0, -1], [0.0, 0.0]),
        (np.zeros((2, 3)), [0.0, 1.0], [0.0, 0.0]),
        (np.zeros((2, 3)), [0], [0.0, 0.0]),
        (np.zeros((2, 3)), [0, 1], [0.0]),
    ],
)
def test_bad_inputs_are_refused(inputs: NDArray[Any], labels: list[Any], numbers: list[float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        APS().of_labels(inputs, np.array(labels), np.array(numbers))


def test_missing_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="randomised"):
        TopK().of_all(np.zeros((2, 3)))


def test_nothing_is_as_fine_as_no_items() -> None:
    assert THR().of_all(np.zeros((0, 3))).shape == (0, 3)
    assert APS().sets(np.zeros((0, 3)), np.array([[0.5]]), np.zeros(0)).shape == (0, 3)
