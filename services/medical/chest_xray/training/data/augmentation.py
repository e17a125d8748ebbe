"""Random views of films, so that position, exposure, borders and burned-in markers help a network less.

Flips are off unless asked for: the heart lies on one side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class AugmentationOptions:
    """Limits of what is drawn for each film.

    Attributes:
        shift: of the film, as a share of its sides.
        rotation: in degrees.
        scale: factor of size away from 1.
        flip: probability of a mirrored film.
        contrast: factor of grey values around their mean away from 1.
        brightness: what is added to grey values.
        gamma: largest logarithm of the exponent of grey values.
        border: share of a side that is masked black at most.
        corners: probability with which each corner is erased, where markers are.
        corner: sides of an erased corner as a share of the film's, at most.
    """

    shift: float = 0.05
    rotation: float = 7.0
    scale: float = 0.1
    flip: float = 0.0
    contrast: float = 0.25
    brightness: float = 0.1
    gamma: float = 0.35
    border: float = 0.08
    corners: float = 0.3
    corner: float = 0.2


PLAIN = AugmentationOptions(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""Changes nothing."""


def augment(
    films: Tensor, options: AugmentationOptions, generator: torch.Generator, *, maps: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """A view of each film, and of the density over it, which sums to 1 again.

    Args:
        films: float32 (n, 1, H, W) in [0, 1].
        options: limits.
        generator: on the CPU; a view depends on nothing else.
        maps: float32 (n, H, W), each moved like its film.
    """
    field = functional.affine_grid(_movements(films, options, generator), list(films.shape), align_corners=False)
    moved = functional.grid_sample(films, field.to(films), padding_mode="zeros", align_corners=False)
    moved = _change_greys(moved, options, generator) * _mask(films, options, generator)
    if maps is None:
        return moved, None
    followed = functional.grid_sample(maps[:, None], field.to(maps), padding_mode="zeros", align_corners=False)[:, 0]
    return moved, followed / followed.sum(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def _uniform(count: int, limit: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * limit


def _movements(films: Tensor, options: AugmentationOptions, generator: torch.Generator) -> Tensor:
    """(n, 2, 3), from places in the view to places in the film, both in [-1, 1]; rotations keep right angles."""
    count, (height, width) = len(films), films.shape[2:]
    angle = _uniform(count, math.radians(options.rotation), generator)
    size = 1 + _uniform(count, options.scale, generator)
    mirrored = torch.where(torch.rand(count, generator=generator) < options.flip, -1.0, 1.0)
    shifts = torch.stack([_uniform(count, 2 * options.shift, generator) for _ in range(2)], dim=1)
    cosine, sine = angle.cos() / size, angle.sin() / size
    first = torch.stack((cosine * mirrored, -sine * height / width, shifts[:, 0]), dim=1)
    second = torch.stack((sine * width / height * mirrored, cosine, shifts[:, 1]), dim=1)
    return torch.stack((first, second), dim=1)


def _change_greys(films: Tensor, options: AugmentationOptions, generator: torch.Generator) -> Tensor:
    count, shape = len(films), (-1, 1, 1, 1)
    gamma = _uniform(count, options.gamma, generator).exp().view(shape).to(films)
    contrast = (1 + _uniform(count, options.contrast, generator)).view(shape).to(films)
    brightness = _uniform(count, options.brightness, generator).view(shape).to(films)
    curved = films.clamp(0, 1) ** gamma
    mean = curved.mean(dim=(2, 3), keepdim=True)
    return (mean + (curved - mean) * contrast + brightness).clamp(0, 1)


def _mask(films: Tensor, options: AugmentationOptions, generator: torch.Generator) -> Tensor:
    """(n, 1, H, W), 0 on borders and corners that are erased."""
    count, (height, width) = len(films), films.shape[2:]
    mask = torch.ones(count, 1, height, width)
    edges = torch.rand(count, 4, generator=generator) * options.border
    erased = torch.rand(count, 4, generator=generator) < options.corners
    sides = torch.rand(count, 4, 2, generator=generator) * options.corner
    for index in range(count):
        top, bottom, left, right = (edges[index] * torch.tensor([height, height, width, width])).int().tolist()
        mask[index, 0, :top] = 0
        mask[index, 0, height - bottom :] = 0
        mask[index, 0, :, :left] = 0
        mask[index, 0, :, width - right :] = 0
        for corner in torch.nonzero(erased[index]).flatten().tolist():
            rows, columns = (sides[index, corner] * torch.tensor([height, width])).int().tolist()
            _erase(mask[index, 0], corner, rows, columns)
    return mask.to(films)


def _erase(mask: Tensor, corner: int, rows: int, columns: int) -> None:
    vertical = slice(0, rows) if corner < 2 else slice(mask.shape[0] - rows, None)
    horizontal = slice(0, columns) if corner % 2 == 0 else slice(mask.shape[1] - columns, None)
    mask[vertical, horizontal] = 0
