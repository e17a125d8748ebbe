"""One library that calibrates on 50,000 x 1,000 and predicts sets of 256 x 1,000, once for each line that it reads.

For tests/benchmarks/test_conformal.py, which lets several take turns: `python -m ... timed_worker LIBRARY SCORE
INPUTS`. All start from the same inputs, logits or probabilities that are ready. It answers "ready", then the seconds of
calibration and of prediction for each line, and in the end its peak memory in MiB.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNT, CLASSES, TESTS, ALPHA = 50_000, 1_000, 256, 0.1

Inputs = NDArray[np.float32]
Steps = tuple[Callable[[], object], Callable[[], object]]


def draw_problem(kind: str) -> tuple[Inputs, NDArray[np.int64], Inputs]:
    """Calibration inputs and labels, test inputs: float32, right in about three of four cases."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, COUNT)
    logits = random.standard_normal((COUNT + TESTS, CLASSES), dtype=np.float32)
    logits[np.arange(COUNT), labels] += random.normal(4.5, 1.5, COUNT).astype(np.float32)
    if kind == "probabilities":
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
    return logits[:COUNT], labels, logits[COUNT:]


def facet(score_name: str, kind: str, threads: int) -> Steps:
    """Ours."""
    from services.uncertainty.conformal.methods.classification.calibration import Calibration, calibrate
    from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
    from services.uncertainty.conformal.methods.scores import APS, RAPS, THR, Score, Transform

    inputs, labels, tests = draw_problem(kind)
    read_as = Transform.SOFTMAX if kind == "logits" else Transform.IDENTITY
    scores: dict[str, Score] = {
        "thr": THR(transform=read_as),
        "aps": APS(transform=read_as),
        "raps": RAPS(transform=read_as, penalty=0.01, free_ranks=5),
    }
    score = scores[score_name]
    made: list[Calibration] = []

    def numbers(count: int, purpose: Purpose) -> NDArray[np.float64] | None:
        return uniforms(0, np.arange(count), purpose) if score.is_randomised else None

    def calibration() -> None:
        given = numbers(COUNT, Purpose.CALIBRATION)
        made[:] = [calibrate(score, inputs, labels, uniforms=given, threads=threads)]

    def prediction() -> object:
        given = numbers(TESTS, Purpose.PREDICTION)
        return made[0].sets(tests, ALPHA, uniforms=given, threads=threads)

    return calibration, prediction


def torchcp(score_name: str, kind: str) -> Steps:
    """TorchCP, on all cores that torch takes."""
    import torch

    from services.uncertainty.conformal.evaluation.reference_comparison.references import stand_in_for_unneeded

    stand_in_for_unneeded()
    from torchcp.classification.predictor import SplitPredictor
    from torchcp.classification.score import APS, LAC, RAPS

    inputs, labels, tests = (torch.from_numpy(part) for part in draw_problem(kind))
    read_as = "softmax" if kind == "logits" else "identity"
    more = {"penalty": 0.01, "kreg": 5} if score_name == "raps" else {}
    score = {"thr": LAC, "aps": APS, "raps": RAPS}[score_name](score_type=read_as, **more)
    predictor = SplitPredictor(score, alpha=ALPHA, device="cpu")
    return lambda: predictor.calculate_threshold(inputs, labels), lambda: predictor.predict_with_logits(tests)


def mapie(score_name: str, kind: str) -> Steps:
    """MAPIE; of logits its classifier takes SciPy's softmax. RAPS is left out: it tunes its own penalty."""
    from services.uncertainty.conformal.evaluation.reference_comparison.references import mapie_classifier

    inputs, labels, tests = draw_problem(kind)
    name = {"thr": "lac", "aps": "aps"}[score_name]
    classifiers: list[Any] = []

    def calibration() -> None:
        classifiers[:] = [mapie_classifier(name, CLASSES, ALPHA, of_logits=kind == "logits")]
        classifiers[0].conformalize(inputs, labels)

    more = {} if score_name == "thr" else {"include_last_label": "randomized"}
    return calibration, lambda: classifiers[0].predict_set(tests, conformity_score_params=more)


def steps(library: str, score: str, kind: str) -> Steps:
    """Calibration and prediction of a library."""
    match library:
        case "torchcp":
            return torchcp(score, kind)
        case "mapie":
            return mapie(score, kind)
        case _:
            return facet(score, kind, threads=int(library.removeprefix("facet")))


def main(library: str, score: str, kind: str) -> None:
    """Take turns until the input ends."""
    warnings.simplefilter("ignore")
    calibration, prediction = steps(library, score, kind)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        calibration()
        middle = time.perf_counter()
        prediction()
        print(middle - began, time.perf_counter() - middle, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
