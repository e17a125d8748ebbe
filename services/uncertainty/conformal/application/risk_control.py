"""Risk control on posted losses or masks; nothing of them is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from services.uncertainty.conformal.application.costs import refuse_costly
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import check_finite, check_values
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.risk.mask_losses import (
    false_discovery_losses,
    false_negative_losses,
    set_shares,
)
from services.uncertainty.conformal.methods.risk.risk_control import (
    control_expected_loss,
    hoeffding_bentkus_p_values,
    learn_then_test,
    risk_controlling_set,
)
from services.uncertainty.conformal.schemas.controls import MaskLoss, Procedure, RiskAnswer, RiskOptions, Sequence
from shared.problems import field_problem

RISK_ARRAYS: Final[Mapping[str, str]] = {
    "losses": "Losses (n, L): a row for each item, a column for each lambda",
    "lambdas": "The grid (L,), ascending; 0, 0.01, ..., 1 for masks unless given",
    "probabilities": "Masks or labels in place of losses: probabilities (n, ...)",
    "truth": "What is true of them, 0 or 1, of the same shape",
}
_GRID: Final = 10_000
"""Most lambdas."""

_GUARANTEES: Final = {
    Procedure.CRC: "If calibration and test items are exchangeable and losses fall with lambda, the expected loss of "
    "the next item at this lambda is at most alpha.",
    Procedure.LTT: "With probability of at least 1 - delta over the draw of these items, all valid lambdas at once "
    "have a risk of at most alpha. Items must be independent draws.",
    Procedure.RCPS: "With probability of at least 1 - delta over the draw of these items, the risk at this lambda is "
    "at most alpha, if the risk does not rise with lambda. Items must be independent draws.",
}


def control_risk(source: NamedArrays, options: RiskOptions) -> RiskAnswer:
    """Control a risk: find the lambdas at which the expected loss is at most alpha.

    Raises:
        UnprocessableContent: arrays are missing or wrong, or options do not fit.
    """
    source.refuse_others(RISK_ARRAYS)
    losses, lambdas, shares = _read_losses(source, options)
    if options.alpha >= options.bound:
        raise field_problem("/body/alpha", f"alpha must be below the largest loss, {options.bound:g}.")
    try:
        return _control(losses, lambdas, shares, options)
    except ValueError as error:
        raise field_problem("/body/losses", f"{error}.") from None


def _control(losses: FloatArray, lambdas: FloatArray, shares: FloatArray | None, options: RiskOptions) -> RiskAnswer:
    bounds = values = required = None
    ascending = _ascends(options)
    match options.procedure:
        case Procedure.CRC:
            controlled = control_expected_loss(losses, lambdas, options.alpha, bound=options.bound)
            valid = np.arange(len(lambdas)) >= (len(lambdas) if controlled.index is None else controlled.index)
            bounds, required = controlled.bounds.tolist(), controlled.required
        case Procedure.LTT:
            tested = learn_then_test(
                losses,
                lambdas,
                options.alpha,
                delta=options.delta,
                correction=options.correction,
                order=np.arange(len(lambdas)) if ascending else None,
                bound=options.bound,
            )
            valid, values = tested.valid, tested.p_values.tolist()
        case _:
            column = risk_controlling_set(losses, lambdas, options.alpha, delta=options.delta)
            values = hoeffding_bentkus_p_values(losses.mean(axis=0), options.alpha, count=len(losses)).tolist()
            valid = np.arange(len(lambdas)) >= (len(lambdas) if column is None else column)
    chosen = None if not valid.any() else int(np.flatnonzero(valid)[-1 if ascending else 0])
    return RiskAnswer(
        procedure=options.procedure,
        alpha=options.alpha,
        n=len(losses),
        lambda_=None if chosen is None else float(lambdas[chosen]),
        valid=valid.tolist(),
        lambdas=lambdas.tolist(),
        risks=losses.mean(axis=0).tolist(),
        bounds=bounds,
        p_values=values,
        set_shares=None if shares is None else shares.tolist(),
        n_required=required,
        warnings=_warnings(shares, chosen),
        guarantee=_GUARANTEES[options.procedure],
    )


def _ascends(options: RiskOptions) -> bool:
    """Whether the sequence begins with the first lambda, and the largest valid one is answered."""
    if options.sequence is not None:
        return options.sequence is Sequence.ASCENDING
    return options.procedure is Procedure.LTT and options.loss is MaskLoss.FALSE_DISCOVERIES


def _warnings(shares: FloatArray | None, chosen: int | None) -> list[str]:
    if chosen is None or shares is None or shares[chosen] > 0:
        return []
    return ["At this lambda all sets are empty: no set with anything in it could be shown to keep the risk."]


def _read_losses(source: NamedArrays, options: RiskOptions) -> tuple[FloatArray, FloatArray, FloatArray | None]:
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
    work = len(chances) * (len(lambdas) * 1.2e-7 + 5e-5)
    held = len(chances) * len(lambdas) * 32 / 2**20
    what = f"Losses of {len(chances)} items at {len(lambdas)} lambdas"
    refuse_costly("/body/lambdas", what, numbers=2 * chances.size, seconds=work, mebibytes=held)
    make = false_negative_losses if options.loss is MaskLoss.FALSE_NEGATIVES else false_discovery_losses
    try:
        return make(chances, truth.astype(np.bool_), lambdas), lambdas, set_shares(chances, lambdas)
    except ValueError as error:
        raise field_problem("/body/probabilities", f"{error}.") from None
