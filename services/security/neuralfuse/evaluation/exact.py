"""What can be checked without training: the published counts, the energy tables, the rate of flips."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.security.bit_errors.faults import TEST_SEEDS, FaultModel, draw_faults
from services.security.neuralfuse.energy import BASE_COUNTS, GENERATOR_COUNTS, energy_saving_percent
from services.security.neuralfuse.evaluation.published import ENERGY_SAVINGS
from services.security.neuralfuse.training.generators import GENERATORS

PARAMETERS = {
    "ConvL": 723_273,
    "ConvS": 113_187,
    "DeConvL": 647_785,
    "DeConvS": 156_777,
    "UNetL": 482_771,
    "UNetS": 121_195,
}
"""Table 7."""

_WEIGHTS = 2**21
_TOLERANCE = 0.1


def measure() -> dict[str, Any]:
    """Parameters of the generators, cells of the energy table, and flips among random weights."""
    return {"parameters": _parameters(), "energy": _energy(), "flips": _flips()}


def _parameters() -> dict[str, dict[str, int]]:
    return {
        name: {"published": PARAMETERS[name], "here": sum(one.numel() for one in make().parameters())}
        for name, make in GENERATORS.items()
    }


def _energy() -> dict[str, Any]:
    """Cells of Table 2 and how far off the arithmetic is, in points."""
    cells = {
        f"{network} + {generator}": {
            "published": published,
            "here": round(
                energy_saving_percent(
                    base=BASE_COUNTS[network].weight_accesses, generator=GENERATOR_COUNTS[generator].weight_accesses
                ),
                2,
            ),
        }
        for network, row in ENERGY_SAVINGS.items()
        for generator, published in row.items()
    }
    within = sum(abs(cell["published"] - cell["here"]) <= _TOLERANCE for cell in cells.values())
    return {"cells": cells, "within_a_tenth": within}


def _flips() -> dict[str, Any]:
    """Share of wrongly read bits at 1 % faulty cells, mean and deviation over the test chips."""
    values = np.random.default_rng(0).integers(-127, 128, _WEIGHTS, dtype=np.int8)
    found = {}
    for model in (FaultModel(0.01), FaultModel(0.01, "flip"), FaultModel(0.01, layout="iid")):
        read = (draw_faults(model, seed, values.size).read(values) for seed in TEST_SEEDS)
        shares = [float(np.unpackbits((one ^ values).view(np.uint8)).mean()) for one in read]
        found[f"{model.kind}, {model.layout}"] = {
            "mean": round(np.mean(shares), 6),
            "deviation": np.std(shares, ddof=1),
        }
    return found
