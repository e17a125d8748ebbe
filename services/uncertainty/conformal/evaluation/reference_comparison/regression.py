"""Ours beside crepes 0.9.1 and MAPIE 1.6.0 on the same numbers; writes regression.json.

The two are no dependencies. Their own environment runs it:

    python -m venv peers && peers/bin/pip install crepes==0.9.1 mapie==1.6.0 scikit-learn==1.9.1 numpy==2.4.6
    peers/bin/python -m services.uncertainty.conformal.evaluation.reference_comparison.regression

Where they are right the largest difference is rounding. Where they are not, a `departure` says what they do, with the
smallest numbers that show it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from services.uncertainty.conformal.evaluation.reference_comparison import crepes_regression, mapie_regression
from services.uncertainty.conformal.methods.arrays import FloatArray

RESULT = Path(__file__).with_suffix(".json")
TOLERANCE = 1e-12
PINNED = {"crepes": "0.9.1", "MAPIE": "1.6.0", "scikit-learn": "1.9.1", "numpy": "2.4.6"}

Check = Callable[[], FloatArray]


def compare() -> dict[str, Any]:
    """Largest difference of each method, and each departure.

    Raises:
        RuntimeError: another version is installed than the one whose behaviour is described.
    """
    if found := {name: version(name) for name, pinned in PINNED.items() if version(name) != pinned}:
        raise RuntimeError(f"the comparison is of {PINNED}, found {found}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small samples, which are compared here
        differences = {
            name: _largest(check()) for name, check in (crepes_regression.CHECKS | mapie_regression.CHECKS).items()
        }
        departures = {
            name: check() for name, check in (crepes_regression.DEPARTURES | mapie_regression.DEPARTURES).items()
        }
    return {
        "versions": PINNED,
        "tolerance": TOLERANCE,
        "differences": differences,
        "equal": all(value <= TOLERANCE for value in differences.values()),
        "departures": departures,
    }


def _largest(differences: FloatArray) -> float:
    return float(np.abs(differences).max())


def main() -> None:
    """Compare and write the result."""
    result = compare()
    RESULT.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
