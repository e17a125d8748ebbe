"""What the paper prints for GTSRB (Table 13) and for energy (Table 2), to be read beside what is measured.

It trains on all frames of GTSRB, and its base classifiers with another recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Accuracy(NamedTuple):
    """In percent.

    Attributes:
        nominal: at nominal voltage.
        low: mean over ten chips at a bit error rate of 1 %.
        deviation: standard deviation over them.
    """

    nominal: float
    low: float
    deviation: float


UNPROTECTED: Final = "unprotected"

GTSRB: Final[Mapping[str, Mapping[str, Accuracy]]] = {
    "resnet18": {
        UNPROTECTED: Accuracy(95.5, 36.9, 16.0),
        "ConvL": Accuracy(95.7, 91.1, 4.7),
        "ConvS": Accuracy(94.4, 68.6, 12),
        "DeConvL": Accuracy(95.6, 91.3, 4.3),
        "DeConvS": Accuracy(95.7, 78.1, 9.1),
        "UNetL": Accuracy(96.2, 93.8, 1.0),
        "UNetS": Accuracy(95.9, 85.1, 6.9),
    },
    "vgg11": {
        UNPROTECTED: Accuracy(91.9, 34.9, 12.4),
        "ConvL": Accuracy(94.8, 85.7, 7.2),
        "ConvS": Accuracy(91.1, 62.2, 11),
        "DeConvL": Accuracy(95.0, 84.6, 7.6),
        "DeConvS": Accuracy(92.4, 67.5, 11),
        "UNetL": Accuracy(92.2, 83.2, 6.0),
        "UNetS": Accuracy(94.7, 73.4, 10),
    },
}
"""By base network and generator."""

ENERGY_SAVINGS: Final[Mapping[str, Mapping[str, float]]] = {
    network: dict(zip(("ConvL", "ConvS", "DeConvL", "DeConvS", "UNetL", "UNetS"), row, strict=True))
    for network, row in {
        "resnet18": (19.0, 29.1, 21.2, 27.5, 24.0, 28.9),
        "resnet50": (25.4, 29.9, 26.4, 29.2, 27.7, 29.9),
        "vgg11": (6.6, 27.5, 11.2, 24.1, 17.1, 27.2),
        "vgg16": (17.1, 28.9, 19.7, 27.0, 23.0, 28.7),
        "vgg19": (20.3, 29.7, 22.3, 27.8, 24.8, 29.1),
    }.items()
}
"""Table 2 in percent, by network and generator."""
