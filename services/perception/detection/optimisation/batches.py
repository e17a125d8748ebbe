"""Pictures of any size as batches of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.perception.detection.optimisation.instances import Targets

GREY: Final = 127 / 255
"""Of what is added at the right and below: about 0 for the network."""


def drawn_places(pictures: int, count: int, step: int, seed: tuple[int, ...]) -> list[int]:
    """Which pictures a step takes, in the order of an endless row of permutations: the same after a resume.

    Args:
        pictures: there are.
        count: of them in a step.
        step: from 0.
        seed: of the order.
    """
    places = range(step * count, (step + 1) * count)
    return [
        int(np.random.default_rng((*seed, place // pictures)).permutation(pictures)[place % pictures])
        for place in places
    ]


def to_image(pixels: NDArray[np.uint8]) -> Tensor:
    """Bytes (height, width, 3) as float32 (3, height, width) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(torch.float32) / 255


def pad_images(images: Sequence[Tensor], multiple: int = 32) -> Tensor:
    """A batch of pictures (3, height, width): grey is added until all have one size, whose sides are multiples.

    Boxes stay where they are, since nothing is added at the left or above.
    """
    height, width = (-(-max(image.shape[axis] for image in images) // multiple) * multiple for axis in (1, 2))
    padded = [
        functional.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]), value=GREY) for image in images
    ]
    return torch.stack(padded)


def resize(image: Tensor, targets: Targets, factor: float) -> tuple[Tensor, Targets]:
    """A picture (3, height, width) and its boxes, `factor` times as large; bilinear, smoothed where it shrinks."""
    if factor == 1:
        return image, targets
    height, width = image.shape[1:]
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    resized = functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    scales = targets.boxes.new_tensor([size[1] / width, size[0] / height] * 2)
    return resized, Targets(targets.boxes * scales, targets.labels)
