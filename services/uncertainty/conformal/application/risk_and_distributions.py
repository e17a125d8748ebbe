"""Risk control, Venn-Abers prediction and predictive distributions of posted arrays; nothing of them is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.calibration_summaries import finite_or_none
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import (
    LARGEST,
    check_count,
    check_finite,
    check_labels,
    check_scores,
    check_values,
)
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.mask_losses import false_discovery_losses, false_negative_losses, set_shares
from services.uncertainty.conformal.methods.predictive_systems import Predictive, fit_predictive_system
from services.uncertainty.conformal.methods.risk_control import (
    control_expected_loss,
    learn_then_test,
    risk_controlling_set,
)
from services.uncertainty.conformal.methods.venn_abers import single_probability, venn_abers
from services.uncertainty.conformal.methods.venn_abers_multiclass import class_venn_abers
from services.uncertainty.conformal.schemas.controls import (
    Distribution,
    DistributionAnswer,
    DistributionOptions,
    MaskLoss,
    ProbabilityPair,
    Procedure,
    RiskAnswer,
    RiskOptions,
    VennAbersAnswer,
    VennAbersOptions,
)
from shared.problems import field_problem

RISK_ARRAYS: Final[Mapping[str, str]] = {
    "losses": "Losses (n, L): a row for each item, a column for each lambda",
    "lambdas": "The grid (L,), ascending; 0, 0.01, ..., 1 for masks unless given",
    "probabilities": "Masks or labels in place of losses: probabilities (n, ...)",
    "truth": "What is true of them, 0 or 1, of the same shape",
}
VENN_ABERS_ARRAYS: Final[Mapping[str, str]] = {
    "scores": "Two classes: scores (n,), larger ones speak for the label 1",
    "probabilities": "More classes: probabilities (n, K)",
    "labels": "True classes (n,)",
    "test_scores": "Scores of the test items (m,)",
    "test_probabilities": "Probabilities of the test items (m, K)",
}
DISTRIBUTION_ARRAYS: Final[Mapping[str, str]] = {
    "predictions": "Of calibration points (n,)",
    "targets": "What was observed (n,)",
    "difficulty": "Expected size of the error (n,), positive",
    "groups": "A group of each point (n,)",
    "test_predictions": "Of test points (m,)",
    "test_difficulty": "Of test points (m,), where `difficulty` is given",
    "test_groups": "Of test points (m,), where `groups` are given",
    "test_targets": "What was observed at the test points (m,), for the CRPS",
}

TESTED_LIMIT: Final = 20_000
"""Most test items of one request, times binary questions."""
_CLASSES: Final = 50
_GRID: Final = 10_000

_RISK_GUARANTEES: Final = {
    Procedure.CRC: "If calibration and test items are exchangeable and losses fall with lambda, the expected loss of "
    "the next item at this lambda is at most alpha.",
    Procedure.LTT: "With probability of at least 1 - delta over the draw of these items, all valid lambdas at once "
    "have a risk of at most alpha. Items must be independent draws.",
    Procedure.RCPS: "With probability of at least 1 - delta over the draw of these items, the risk at this lambda is "
    "at most alpha, if the risk does not rise with lambda. Items must be independent draws.",
}
_VENN_ABERS: Final = (
    "If calibration and test items are exchangeable, one of the two probabilities is perfectly calibrated; which one, "
    "the label will say. Their distance tells how much is known."
)
_VENN_ABERS_CLASSES: Final = (
    "Put together from binary predictors, whose pairs carry the guarantee; their combination is calibrated in practice."
)
_DISTRIBUTION: Final = (
    "If calibration and test points are exchangeable, the distribution function at the true value is uniform up to "
    "1/(n + 1): intervals between quantiles cover as often as they say, over the draw of all points{groups}."
)


def control_risk(source: NamedArrays, options: RiskOptions) -> RiskAnswer:
    """Which lambdas keep the risk.

    Raises:
        UnprocessableContent: arrays are missing or wrong, or options do not fit.
    """
    source.refuse_others(RISK_ARRAYS)
    losses, lambdas, shares = _losses(source, options)
    if options.alpha >= options.bound:
        raise field_problem("/body/alpha", f"alpha must be below the largest loss, {options.bound:g}.")
    try:
        return _controlled(losses, lambdas, shares, options)
    except ValueError as error:
        raise field_problem("/body/losses", f"{error}.") from None


def _controlled(losses: FloatArray, lambdas: FloatArray, shares: FloatArray | None, options: RiskOptions) -> RiskAnswer:
    bounds = values = required = None
    match options.procedure:
        case Procedure.CRC:
            found = control_expected_loss(losses, lambdas, options.alpha, bound=options.bound)
            valid = np.arange(len(lambdas)) >= (len(lambdas) if found.index is None else found.index)
            bounds, required = found.bounds.tolist(), found.required
        case Procedure.LTT:
            tested = learn_then_test(
                losses,
                lambdas,
                options.alpha,
                delta=options.delta,
                correction=options.correction,
                bound=options.bound,
            )
            valid, values = tested.valid, tested.p_values.tolist()
        case _:
            column = risk_controlling_set(losses, lambdas, options.alpha, delta=options.delta)
            valid = np.arange(len(lambdas)) >= (len(lambdas) if column is None else column)
    return RiskAnswer(
        procedure=options.procedure,
        alpha=options.alpha,
        n=len(losses),
        lambda_=float(lambdas[int(np.argmax(valid))]) if valid.any() else None,
        valid=valid.tolist(),
        lambdas=lambdas.tolist(),
        risks=losses.mean(axis=0).tolist(),
        bounds=bounds,
        p_values=values,
        set_shares=None if shares is None else shares.tolist(),
        n_required=required,
        guarantee=_RISK_GUARANTEES[options.procedure],
    )


def _losses(source: NamedArrays, options: RiskOptions) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    grid = source.read_numbers("lambdas")
    lambdas = np.linspace(0, 1, 101) if grid is None else check_values(grid, "/body/lambdas")
    if len(lambdas) > _GRID or (np.diff(lambdas) <= 0).any():
        raise field_problem("/body/lambdas", f"At most {_GRID} lambdas are accepted, in ascending order.")
    if source.has("losses"):
        if grid is None:
            raise field_problem("/body/lambdas", "Losses need the lambdas of their columns.")
        table = source.require_numbers("losses", dimensions=2)
        check_finite(table, "/body/losses")
        return table.astype(np.float64), lambdas, None
    chances, truth = (
        source.require_numbers("probabilities", dimensions=None),
        source.require_numbers("truth", dimensions=None),
    )
    check_finite(chances, "/body/probabilities")
    if truth.shape != chances.shape or not np.isin(truth, (0, 1)).all():
        raise field_problem("/body/truth", f"Values 0 or 1 of the shape {chances.shape} are needed.")
    make = false_negative_losses if options.loss is MaskLoss.FALSE_NEGATIVES else false_discovery_losses
    try:
        return make(chances, truth.astype(np.bool_), lambdas), lambdas, set_shares(chances, lambdas)
    except ValueError as error:
        raise field_problem("/body/probabilities", f"{error}.") from None


def predict_venn_abers(source: NamedArrays, options: VennAbersOptions) -> VennAbersAnswer:
    """Calibrated probabilities; problems as of `control_risk`."""
    source.refuse_others(VENN_ABERS_ARRAYS)
    if source.has("probabilities"):
        return _many_classes(source, options)
    scores = check_values(source.require_numbers("scores"), "/body/scores")
    labels = check_labels(source.require_numbers("labels"), "/body/labels", count=len(scores), classes=2)
    asked = check_values(source.require_numbers("test_scores"), "/body/test_scores")
    _require_few(len(asked), "/body/test_scores")
    pairs = venn_abers(scores, labels).probabilities(asked)
    single = single_probability(pairs)
    return VennAbersAnswer(
        n=len(scores),
        pairs=[
            ProbabilityPair(p0=float(low), p1=float(high), probability=float(one))
            for (low, high), one in zip(pairs, single, strict=True)
        ],
        guarantee=_VENN_ABERS,
    )


def _many_classes(source: NamedArrays, options: VennAbersOptions) -> VennAbersAnswer:
    rows = _probabilities(source, "probabilities")
    classes = rows.shape[1]
    if classes > _CLASSES:
        raise field_problem("/body/probabilities", f"There are {classes} classes; at most {_CLASSES} are accepted.")
    labels = check_labels(source.require_numbers("labels"), "/body/labels", count=len(rows), classes=classes)
    asked = _probabilities(source, "test_probabilities")
    if asked.shape[1] != classes:
        raise field_problem("/body/test_probabilities", f"There are {asked.shape[1]} classes, not {classes}.")
    _require_few(len(asked) * classes * (classes - 1) // 2, "/body/test_probabilities")
    found = class_venn_abers(rows, labels, decomposition=options.decomposition).probabilities(asked)
    return VennAbersAnswer(n=len(rows), probabilities=found.tolist(), guarantee=_VENN_ABERS_CLASSES)


def _probabilities(source: NamedArrays, name: str) -> NDArray[np.float64]:
    pointer = f"/body/{name}"
    return check_scores(source.require_numbers(name, dimensions=2), pointer, probabilities=True).astype(np.float64)


def _require_few(count: int, pointer: str) -> None:
    if count > TESTED_LIMIT:
        detail = f"That is {count} test items (times binary questions); at most {TESTED_LIMIT} are accepted."
        raise field_problem(pointer, detail)


def predict_distributions(source: NamedArrays, options: DistributionOptions) -> DistributionAnswer:
    """Predictive distributions; problems as of `control_risk`."""
    source.refuse_others(DISTRIBUTION_ARRAYS)
    points = check_values(source.require_numbers("predictions"), "/body/predictions")
    targets = check_values(source.require_numbers("targets"), "/body/targets", count=len(points))
    asked = check_values(source.require_numbers("test_predictions"), "/body/test_predictions")
    _require_few(len(asked), "/body/test_predictions")
    unit, test_unit = _units(source, "difficulty", len(points)), _units(source, "test_difficulty", len(asked))
    groups, test_groups = _groups(source, "groups", len(points)), _groups(source, "test_groups", len(asked))
    for name, one, other in (("difficulty", unit, test_unit), ("groups", groups, test_groups)):
        if (one is None) != (other is None):
            raise field_problem(f"/body/test_{name}", f"{name} and test_{name} are given together or not at all.")
    system = fit_predictive_system(points, targets, difficulty=unit, groups=groups)
    predictive = system.predict(asked, difficulty=test_unit, groups=test_groups)
    observed = source.read_numbers("test_targets")
    if observed is not None:
        observed = check_values(observed, "/body/test_targets", count=len(asked))
    return DistributionAnswer(
        n=len(points),
        quantiles=options.quantiles,
        values=options.values,
        distributions=_distributions(predictive, options, observed),
        guarantee=_DISTRIBUTION.format(groups=", in each group" if groups is not None else ""),
    )


def _distributions(
    predictive: Predictive, options: DistributionOptions, observed: FloatArray | None
) -> list[Distribution]:
    count = predictive.points.size
    quantiles = [predictive.quantiles(level, side="lower" if level < 0.5 else "higher") for level in options.quantiles]
    chances = [predictive.probabilities(value) for value in options.values]
    losses = None if observed is None else predictive.crps(observed)
    return [
        Distribution(
            quantiles=[finite_or_none(float(column[index])) for column in quantiles],
            probabilities=[float(column[index]) for column in chances],
            crps=None if losses is None else finite_or_none(float(losses[index])),
        )
        for index in range(count)
    ]


def _units(source: NamedArrays, name: str, count: int) -> FloatArray | None:
    found = source.read_numbers(name)
    if found is None:
        return None
    values = check_values(found, f"/body/{name}", count=count)
    if (values < 1 / LARGEST).any():
        raise field_problem(f"/body/{name}", "Difficulties must be positive.")
    return values


def _groups(source: NamedArrays, name: str, count: int) -> NDArray[Any] | None:
    found = source.read_texts(name)
    if found is None:
        return None
    check_count(np.array(found), f"/body/{name}", count)
    if "" in found:
        raise field_problem(f"/body/{name}", "A group's label must not be empty.")
    return np.array(found, np.str_)
