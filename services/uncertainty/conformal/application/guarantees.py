"""The guarantee of a calibration as a sentence: coverage, over which probability, under which assumption."""

from __future__ import annotations

from typing import Final

from services.uncertainty.conformal.schemas.calibrations import Method

_MARGINAL: Final = (
    "If calibration and test items are exchangeable, a set of level alpha holds the true label with probability of at "
    "least 1 - alpha{upper}. The probability is over the draw of calibration and test items: it is not conditional on "
    "an item, on a class or on this calibration, whose own coverage lies in the band given (95 %)."
)
_UPPER: Final = " and, as no scores tied here, of at most 1 - alpha + 1/(n + 1)"
_TIED: Final = " {tied} calibration scores equal another one: coverage may be higher than that, and has no upper limit."

_METHODS: Final = {
    Method.SPLIT: "",
    Method.CLASS: " The same holds within each class, with the n of the class.",
    Method.GROUP: " The same holds within each group, with the n of the group; a group without calibration items gets "
    "every label.",
    Method.CLUSTERED: " It holds within each cluster of classes, and approximately within a class as far as the scores "
    "of its cluster are alike. Classes with too few examples are in no cluster and share the threshold of all items: "
    "for them nothing is promised.",
}
_WEIGHTED: Final = (
    "If test items are drawn from another distribution of inputs with the same labels given the inputs, and the "
    "weights are the density ratio of test to calibration inputs up to a factor, a set of level alpha holds the true "
    "label with probability of at least 1 - alpha. With estimated weights this is approximate. An item of large weight "
    "may get everything."
)
_RANKED: Final = (
    "No coverage of a finite sample is proved: the share of examples beyond the rank limit is estimated on the very "
    "items that calibrate. Under exchangeability each class is covered with probability of 1 - alpha up to the error "
    "of that share, which is of the order of 1/sqrt(n) with the n of the class. Sets need not grow as alpha falls."
)
_REGRESSION: Final = (
    "If calibration and test points are exchangeable, an interval of level alpha holds the true value with probability "
    "of at least 1 - alpha{upper}. The probability is over the draw of calibration and test points: it is not "
    "conditional on a point or on this calibration, whose own coverage lies in the band given (95 %)."
)
_SIDES: Final = " Each side is exceeded with probability of at most alpha / 2."
_GROUPS: Final = " The same holds within each group; a group without calibration points gets the whole line."


def describe_classification(method: Method, *, exact: bool, tied: int = 0, count: int = 0) -> str:
    """Describe the guarantee of a classifier's calibration.

    Args:
        method: of the calibration.
        exact: the score is randomised or continuous, so that ties do not make coverage higher.
        tied: calibration scores that equal another one.
        count: calibration items.
    """
    if method is Method.WEIGHTED:
        return _WEIGHTED
    if method is Method.RC3P:
        return _RANKED
    ties = "" if exact else " Without draws the score has ties, and coverage may be higher than that."
    if exact and tied:
        ties = _TIED.format(tied=f"{tied} of {count}")
    return _MARGINAL.format(upper=_UPPER if exact and not tied else "") + _METHODS[method] + ties


def describe_regression(*, weighted: bool, grouped: bool, asymmetric: bool, tied: int = 0) -> str:
    """Describe the guarantee of a regression's calibration."""
    if weighted:
        return (
            _WEIGHTED.replace("a set", "an interval").replace("label", "value").replace("values given", "value given")
        )
    upper = "" if asymmetric or tied else _UPPER
    ties = _TIED.format(tied=tied) if tied else ""
    return _REGRESSION.format(upper=upper) + (_SIDES if asymmetric else "") + (_GROUPS if grouped else "") + ties
