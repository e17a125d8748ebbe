"""A calibration that has just been fitted, of a classifier or of a regression, with its description."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.classification.weighted_calibration import WeightedCalibration
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.schemas.calibrations import CellSummary, LevelSummary
from services.uncertainty.conformal.storage.serialization import AnyCalibration

SIZED_ITEMS: Final = 2000
"""Most calibration items that the expected size is measured on."""


@dataclass(frozen=True, kw_only=True)
class FittedCalibration:
    """A calibration and its description.

    Attributes:
        calibration: to predict with.
        inputs: the arrays that predictions take: logits, probabilities, features, or those of a band.
        count: items that were posted.
        classes: number of classes K, None for regression.
        cells, levels: summaries.
        data_digest: sha256 of the posted arrays.
        guarantee: in words.
        warnings: sentences for whoever uses it.
        class_labels: what the classes are called; None for 0 to K - 1.
        seed: of the draws that were made, None where none can be.
    """

    calibration: AnyCalibration
    inputs: str
    count: int
    classes: int | None
    cells: list[CellSummary]
    levels: list[LevelSummary]
    data_digest: str
    guarantee: str
    warnings: list[str] = field(default_factory=list)
    seed: int | None = None
    class_labels: list[int] | list[str] | None = None

    @property
    def effective_count(self) -> float:
        """Effective sample size: the number of items of equal weight that would say as much, (sum w)^2 / sum w^2."""
        if isinstance(self.calibration, WeightedCalibration):
            return self.calibration.effective_size
        if isinstance(self.calibration, RegressionCalibration):
            return sum(cell.effective_count for cell in self.calibration.tails[0].cells)
        return float(self.count)


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash names, types, shapes and bytes of arrays: `sha256:` and 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return f"sha256:{digest.hexdigest()}"
