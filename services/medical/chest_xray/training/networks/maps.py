"""What first encoders give, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class EncoderMaps:
    """Two taps of a first encoder.

    Attributes:
        coarse: (n, c, H / 32, W / 32) that the decoder starts from; of DenseNet the last dense block.
        features: (n, k, H / 32, W / 32) whose means over the places are classified; of DenseNet `norm5` of `coarse`.
    """

    coarse: Tensor
    features: Tensor
