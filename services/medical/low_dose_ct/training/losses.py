"""Training losses: L1 for Gaussian denoising; squared error or 1 - SSIM (with an L1 anchor) for low-dose CT.

The fine-tuning loss of the paper is SSIM-based; its exact form is not public. ``1 - SSIM`` alone leaves a
constant offset unpunished where the image is flat, which shows as HU bias in air and soft tissue, so an L1
term holds the mean in place.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
"""Compares a prediction with its target, both (batch, 1, height, width); a scalar to make small."""

SSIM_WINDOW = 7
"""Side of the uniform window, the default of scikit-image and of DIVal's metric."""


def absolute_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, the loss of DRUNet's released training options."""
    return functional.l1_loss(predicted, target)


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error times 100 (so that gradients have the size of those of the other losses)."""
    return 100 * functional.mse_loss(predicted, target)


def structural_dissimilarity(predicted: Tensor, target: Tensor) -> Tensor:
    """``1 - SSIM`` averaged over a batch, with the range of each target image as data range.

    Follows scikit-image's defaults: uniform 7x7 window, K1 = 0.01, K2 = 0.03, sample covariance.

    Args:
        predicted: float tensor, shape (batch, 1, height, width).
        target: float tensor of the same shape.
    """
    data_range = (target.amax(dim=(1, 2, 3)) - target.amin(dim=(1, 2, 3))).clamp_min(1e-3)
    c1 = ((0.01 * data_range) ** 2).view(-1, 1, 1, 1)
    c2 = ((0.03 * data_range) ** 2).view(-1, 1, 1, 1)
    sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)

    def mean(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image, SSIM_WINDOW, stride=1)

    mean_p, mean_t = mean(predicted), mean(target)
    variance_p = sample * (mean(predicted * predicted) - mean_p * mean_p)
    variance_t = sample * (mean(target * target) - mean_t * mean_t)
    covariance = sample * (mean(predicted * target) - mean_p * mean_t)
    luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    structure = (2 * covariance + c2) / (variance_p + variance_t + c2)
    return 1 - (luminance * structure).mean()


def anchored_dissimilarity(predicted: Tensor, target: Tensor) -> Tensor:
    """``(1 - SSIM) + 5 * L1``, both on attenuation in [0, 1].

    The weight puts the two terms on one scale at the start of fine-tuning (1 - SSIM about 0.3, L1 about 0.02).
    """
    anchor: Tensor = absolute_error(predicted, target).mul(5)
    return structural_dissimilarity(predicted, target) + anchor


LOSSES: dict[str, Loss] = {
    "absolute": absolute_error,
    "squared": squared_error,
    "structural": anchored_dissimilarity,
}
"""The losses by their name on the command line."""
