"""Weak and strong views of a picture (paper, section 2), in plain torch.

Weak is a flip and a change of size. Strong is weak with changed colours, blur and erased rectangles and keeps the
geometry, so boxes of the weak view are right for the strong one. Pictures are float32 (3, height, width) in [0, 1];
the same generator state gives the same view.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Generator, Tensor
from torch.nn import functional

from services.perception.detection.optimisation.batches import resize
from services.perception.detection.optimisation.instances import Targets

JITTER: Final = 0.4
"""Of brightness, contrast and saturation: factors in [0.6, 1.4]."""
HUE: Final = 0.1
"""In turns, either way."""
ERASURES: Final = ((0.7, (0.05, 0.2)), (0.5, (0.02, 0.2)), (0.3, (0.02, 0.2)))
"""Probability and share of the area of each."""

_RATIOS: Final = (0.3, 3.3)
"""Height over width of erased rectangles; ours."""
_LUMA: Final = (0.299, 0.587, 0.114)
_TO_YIQ: Final = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def weak_view(
    image: Tensor, targets: Targets, generator: Generator, *, scales: tuple[float, float] = (1.0, 1.0)
) -> tuple[Tensor, Targets]:
    """Mirror a picture in half of all cases and change its size by a factor in `scales`."""
    if _chance(generator) < 0.5:
        image, targets = flip(image, targets)
    return resize(image, targets, _between(scales, generator))


def flip(image: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    """A picture and its boxes, left and right exchanged."""
    left, top, right, bottom = targets.boxes.unbind(dim=1)
    width = image.shape[2]
    return image.flip(2), Targets(torch.stack((width - right, top, width - left, bottom), dim=1), targets.labels)


def strong_view(image: Tensor, generator: Generator) -> Tensor:
    """Jitter (p 0.8), grey (p 0.2), blur of sigma 0.1 to 2 (p 0.5) and three erased rectangles (p 0.7, 0.5, 0.3)."""
    if _chance(generator) < 0.8:
        image = jitter(image, generator)
    if _chance(generator) < 0.2:
        image = _grey(image).expand_as(image)
    if _chance(generator) < 0.5:
        image = blur(image, _between((0.1, 2.0), generator))
    for probability, share in ERASURES:
        if _chance(generator) < probability:
            image = erase(image, share, generator)
    return image


def jitter(image: Tensor, generator: Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue, in random order.

    The hue is turned in the plane of I and Q of YIQ, which is one matrix, rather than in HSV.
    """
    for kind in torch.randperm(4, generator=generator).tolist():
        factor = _between((1 - JITTER, 1 + JITTER), generator)
        if kind == 0:
            image = image * factor
        elif kind == 1:
            image = _grey(image).mean() * (1 - factor) + image * factor
        elif kind == 2:
            image = _grey(image) * (1 - factor) + image * factor
        else:
            image = turn_hue(image, (factor - 1) / JITTER * HUE)
        image = image.clamp(0, 1)
    return image


def turn_hue(image: Tensor, turns: float) -> Tensor:
    """Colours turned by a share of the circle; greys stay, brightness (luma) stays. May leave [0, 1]."""
    to_yiq = torch.tensor(_TO_YIQ, device=image.device)
    sine, cosine = math.sin(2 * math.pi * turns), math.cos(2 * math.pi * turns)
    turn = torch.tensor([[1.0, 0, 0], [0, cosine, -sine], [0, sine, cosine]], device=image.device)
    return torch.einsum("ij,jhw->ihw", torch.linalg.inv(to_yiq) @ turn @ to_yiq, image)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of standard deviation `sigma` pixels, cut at three of them; borders are repeated."""
    reach = max(1, math.ceil(3 * sigma))
    places = torch.arange(-reach, reach + 1, device=image.device, dtype=torch.float32)
    kernel = (-0.5 * (places / sigma) ** 2).exp()
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[:, None], (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, kernel.reshape(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.reshape(1, 1, 1, -1))[:, 0]


def erase(image: Tensor, share: tuple[float, float], generator: Generator) -> Tensor:
    """Fill a rectangle with noise whose area is a share of the picture's in the given range."""
    height, width = image.shape[1:]
    area = _between(share, generator) * height * width
    ratio = math.exp(_between((math.log(_RATIOS[0]), math.log(_RATIOS[1])), generator))
    rows, columns = min(height, round(math.sqrt(area * ratio))), min(width, round(math.sqrt(area / ratio)))
    top, left = (int(_chance(generator) * (whole - part + 1)) for whole, part in ((height, rows), (width, columns)))
    image = image.clone()
    noise = torch.rand(3, rows, columns, generator=generator)
    image[:, top : top + rows, left : left + columns] = noise.to(image.device)
    return image


def _grey(image: Tensor) -> Tensor:
    return (image * image.new_tensor(_LUMA)[:, None, None]).sum(dim=0, keepdim=True)


def _chance(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))


def _between(limits: tuple[float, float], generator: Generator) -> float:
    return limits[0] + (limits[1] - limits[0]) * _chance(generator)
