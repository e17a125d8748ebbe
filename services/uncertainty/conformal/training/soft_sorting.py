"""Sorting that gradients pass through: NeuralSort (Grover et al., ICLR 2019), and quantiles made of it.

torchsort, which other implementations use, has to be compiled at installation; this is a closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from services.uncertainty.conformal.methods.levels import Level, conformal_rank


def soft_permutation(values: Tensor, temperature: float) -> Tensor:
    """Row k holds how much each value is the k-th smallest, each row adding up to 1 (Grover et al. 2019, equation 5).

    The row of the k-th largest of n is softmax(((n + 1 - 2 k) s - sum over j of abs(s - s_j)) / temperature).

    Args:
        values: (n,), n >= 1.
        temperature: above 0, in the unit of the values. Towards 0 rows become those of the sorting permutation.

    Returns:
        (n, n), in ascending order.

    Raises:
        ValueError: values of another shape, or a temperature that is not positive.
    """
    if values.ndim != 1 or not len(values) or not temperature > 0:
        raise ValueError(f"values must be one row and the temperature positive, not {tuple(values.shape)}")
    ranks = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
    distances = (values[:, None] - values[None, :]).abs().sum(dim=1)
    # From the smallest: 2 k - n - 1 instead of n + 1 - 2 k.
    weights = (2 * ranks - len(values) - 1)[:, None] * values[None, :] - distances[None, :]
    return torch.softmax(weights / temperature, dim=1)


def soft_sort(values: Tensor, temperature: float) -> Tensor:
    """The values (n,) in ascending order, each a mean of all by the rows of `soft_permutation`."""
    return soft_permutation(values, temperature) @ values


def soft_quantile(scores: Tensor, alpha: Level, temperature: float) -> Tensor:
    """The conformal threshold of the scores (n,), a number that gradients pass through.

    The k-th smallest, k = ceil((n + 1)(1 - alpha)); the largest where k > n, as a batch must have some threshold. That
    is good enough to train with and gives no guarantee: calibrate exactly afterwards, on other data.
    """
    rank = min(conformal_rank(len(scores), alpha), len(scores))
    return soft_sort(scores, temperature)[rank - 1]
