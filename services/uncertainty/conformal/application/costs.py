"""What a request would cost, from shapes, labels and options, before anything of that size is allocated.

A small request must not keep the service busy or full: what it may cost grows with what was posted. The constants are
measured on one core of 2020 and rounded up; estimates are upper bounds within a factor of about three.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from services.uncertainty.conformal.interruption import checking
from services.uncertainty.conformal.methods.classification.calibration import Calibration
from services.uncertainty.conformal.methods.classification.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.methods.scores import KNN, Entmax, Score
from services.uncertainty.conformal.storage.serialization import AnyCalibration
from shared.problems import field_problem
from shared.runtime.cancellation import current_cancellation

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FREE_S: Final = 1.5
_FREE_MIB: Final = 200.0
_S_OF_NUMBER: Final = 1e-6
_BYTES_OF_NUMBER: Final = 48.0
THRESHOLDS_LIMIT: Final = 20_000
"""Most thresholds of a calibration: cells times levels."""
QUICK_THRESHOLDS: Final = 1000
"""Thresholds that are found in a moment."""
STEPS_S: Final = 1.8
"""Seconds that the observations of one request to a stream or a monitor may take."""
SIZING_S: Final = 0.3
"""Seconds that the expected size may take."""


def refuse_costly(pointer: str, what: str, *, numbers: int, seconds: float = 0.0, mebibytes: float = 0.0) -> None:
    """Refuse work that is out of proportion to what was posted.

    Args:
        pointer: the field to blame.
        what: makes the work, in words: "5000 classes of 1000 neighbours".
        numbers: that were posted.
        seconds: estimate of the time.
        mebibytes: estimate of the memory.

    Raises:
        UnprocessableContent: names estimate and limit.
    """
    most_s = _FREE_S + _S_OF_NUMBER * numbers
    most_mib = _FREE_MIB + _BYTES_OF_NUMBER * numbers / 2**20
    if seconds > most_s:
        detail = f"{what} would take about {seconds:.3g} s; for so many posted numbers {most_s:.3g} s are accepted."
        raise field_problem(pointer, detail)
    if mebibytes > most_mib:
        detail = f"{what} would take about {mebibytes:.3g} MiB; for so many posted numbers {most_mib:.0f} are accepted."
        raise field_problem(pointer, detail)


def refuse_thresholds(pointer: str, cells: int, levels: int) -> None:
    """Refuse more thresholds than `THRESHOLDS_LIMIT`.

    Raises:
        UnprocessableContent: names both factors.
    """
    if cells * levels > THRESHOLDS_LIMIT:
        detail = (
            f"That is {cells * levels} thresholds ({cells} cells at {levels} levels); at most {THRESHOLDS_LIMIT} are "
            "kept. Ask for fewer levels, or for larger groups."
        )
        raise field_problem(pointer, detail)


def seconds_of_scores(score: Score, classes: int) -> float:
    """Seconds that the scores of all labels of one item take."""
    if isinstance(score, KNN):
        trained, features = int(score.features.shape[0]), int(score.features.shape[1])
        nearest = classes * score.neighbours
        return trained * (6e-8 + 3e-9 * features) + classes * 1e-6 + nearest * 2.5e-7
    if isinstance(score, Entmax) and score.gamma not in (1, 2):
        return 1.5e-8 * float(classes) ** 2
    return 1.5e-7 * classes


def mebibytes_of_scores(score: Score, classes: int) -> float:
    """Memory that scores take beside their results."""
    if not isinstance(score, KNN):
        return 20.0
    return 64 * (classes * score.neighbours * 70 + len(score.features) * 24) / 2**20


def is_quick(calibration: AnyCalibration, levels: int) -> bool:
    """Whether a few items take a moment at so many levels: few thresholds, and a score that is no search."""
    if isinstance(calibration, RegressionCalibration):
        cells = sum(len(tail.cells) for tail in calibration.tails)
        return cells * levels <= QUICK_THRESHOLDS
    score = calibration.score
    cells = calibration.taxonomy.cells if isinstance(calibration, Calibration) else 1
    cells = len(calibration.scores) if isinstance(calibration, RankCalibration) else cells
    slow = isinstance(score, KNN) or (isinstance(score, Entmax) and score.gamma not in (1, 2))
    return not slow and cells * levels <= QUICK_THRESHOLDS


def refuse_costly_scores(
    score: Score, classes: int, *, items: int, rounds: int, numbers: int, pointer: str, answered: bool = True
) -> None:
    """Refuse scores of all labels that would take too long or too much memory.

    Args:
        score: to be computed.
        classes: K.
        items: N.
        rounds: how often they are computed.
        numbers: that were posted.
        pointer: the field to blame.
        answered: sets and values (N, K) are held as well.
    """
    seconds = rounds * items * seconds_of_scores(score, classes)
    mebibytes = mebibytes_of_scores(score, classes) + (items * classes * (40 + rounds) / 2**20 if answered else 0)
    what = f"The score {score.name} of {items} items and {classes} classes, {rounds} times,"
    refuse_costly(pointer, what, numbers=numbers, seconds=seconds, mebibytes=mebibytes)


def stoppable(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make a function of the compute pool stop between two blocks of work once its caller has gone."""

    @wraps(function)
    def stopping(*arguments: _P.args, **named: _P.kwargs) -> _T:
        cancellation = current_cancellation()
        with checking(cancellation.raise_if_interrupted if cancellation is not None else None):
            return function(*arguments, **named)

    return stopping
