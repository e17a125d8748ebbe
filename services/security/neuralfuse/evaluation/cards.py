"""Measured accuracies in the cards of released classifiers and generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.security.neuralfuse.evaluation.published import UNPROTECTED
from services.security.neuralfuse.training.release import release_folder
from shared.runtime.cards import Baseline, Quality, read_card
from shared.runtime.models.releases import write_card

_RATE_NAMES = {"0.005": "0.5 %", "0.01": "1 %", "0.02": "2 %"}


def write_quality(figures: Mapping[str, Any], *, generators: bool) -> None:
    """Put what was measured of one classifier, and of the generators that were made for it, into their cards.

    Args:
        figures: of `protection` or `transfer`.
        generators: whether they were made for it.
    """
    methods = figures["methods"]
    alone = methods[UNPROTECTED]
    _write(figures["base"], [_nominal(alone, figures), *_low(alone, alone, figures)])
    for name, found in methods.items():
        if generators and name != UNPROTECTED:
            _write(name, [_nominal(found, figures, alone), *_low(found, alone, figures)])


def _write(name: str, quality: list[Quality]) -> None:
    folder = release_folder(name)
    write_card(read_card(folder).model_copy(update={"quality": quality}), folder)


def _dataset(figures: Mapping[str, Any]) -> str:
    return f"GTSRB, {figures['pictures']:,} pictures of the official test set, by {figures['base']}"


def _nominal(found: Mapping[str, Any], figures: Mapping[str, Any], alone: Mapping[str, Any] | None = None) -> Quality:
    return Quality(
        metric="accuracy at nominal voltage",
        dataset=_dataset(figures),
        value=found["nominal"],
        unit="",
        baseline=Baseline(name=UNPROTECTED, value=alone["nominal"]) if alone else None,
    )


def _low(found: Mapping[str, Any], alone: Mapping[str, Any], figures: Mapping[str, Any]) -> list[Quality]:
    """Means over chips, beside the classifier alone."""
    quality = []
    for rate, name in _RATE_NAMES.items():
        shares = np.array(found["low"][rate])
        quality.append(
            Quality(
                metric=f"accuracy at a bit error rate of {name}, mean of {len(shares)} chips (standard deviation "
                f"{100 * shares.std(ddof=1):.1f} points)",
                dataset=_dataset(figures),
                value=round(float(shares.mean()), 4),
                unit="",
                baseline=None
                if found is alone
                else Baseline(name=UNPROTECTED, value=round(float(np.mean(alone["low"][rate])), 4)),
            )
        )
    return quality
