"""Nonconformity scores of classification: how ill each label fits an item."""

from services.uncertainty.conformal.methods.scores.base import Inputs, Labels, Score, Sets, Values
from services.uncertainty.conformal.methods.scores.neighbours import KNN
from services.uncertainty.conformal.methods.scores.plain import THR, Entmax, Margin
from services.uncertainty.conformal.methods.scores.ranked import APS, RAPS, SAPS, RankedScore, TopK
from services.uncertainty.conformal.methods.scores.transforms import Transform

SCORES: dict[str, type[Score]] = {one.name: one for one in (THR, APS, RAPS, SAPS, TopK, Margin, KNN, Entmax)}
"""Every score by its name."""

__all__ = [
    "APS",
    "KNN",
    "RAPS",
    "SAPS",
    "SCORES",
    "THR",
    "Entmax",
    "Inputs",
    "Labels",
    "Margin",
    "RankedScore",
    "Score",
    "Sets",
    "TopK",
    "Transform",
    "Values",
]
