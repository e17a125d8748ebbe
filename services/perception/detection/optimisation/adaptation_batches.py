"""The pictures of a step of adaptation: labelled ones of each source, and unlabelled ones of the target in two views.

A set of the target has no labels at all, so that none can reach a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe
from services.perception.detection.optimisation.augmentation import strong_view, weak_view
from services.perception.detection.optimisation.batches import drawn_places, pad_images, to_image
from services.perception.detection.optimisation.instances import Targets


class LabelledPictures(Protocol):
    """Pictures uint8 (height, width, 3), RGB, and the objects in each."""

    @property
    def images(self) -> Sequence[NDArray[np.uint8]]:
        """All of them."""

    @property
    def targets(self) -> Sequence[Targets]:
        """Of each picture, boxes in its pixels."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step sees; all pictures have one size.

    Attributes:
        images: float32 (labelled and then target pictures, 3, height, width) in [0, 1]; of the target the strong views.
        targets: objects of the labelled ones.
        sources: int64 (labelled,), number of the source of each.
        weak: the target's weak views, float32 (target pictures, 3, height, width).
    """

    images: Tensor
    targets: list[Targets]
    sources: Tensor
    weak: Tensor

    @property
    def labelled(self) -> int:
        """How many of the images have labels."""
        return len(self.targets)


def draw_batch(
    recipe: AdaptationRecipe, sources: Sequence[LabelledPictures], target: Sequence[NDArray[np.uint8]], step: int
) -> Batch:
    """The batch of a step, the same for the same seed and step.

    Args:
        recipe: sizes and views.
        sources: labelled sets.
        target: pictures of the target; none are drawn before burn-in ends.
        step: from 0.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    images: list[Tensor] = []
    targets: list[Targets] = []
    for number, source in enumerate(sources):
        for index in drawn_places(len(source.images), recipe.batch, step, (recipe.seed, number)):
            image, found = weak_view(
                to_image(source.images[index]), source.targets[index], generator, scales=recipe.scales
            )
            images.append(_perhaps_strong(image, recipe.strong, generator))
            targets.append(found)
    weak, strong = _target_views(recipe, target, step, generator, number=len(sources))
    padded = pad_images([*images, *strong, *weak])
    both = len(images) + len(strong)
    labels = torch.arange(len(sources)).repeat_interleave(recipe.batch)
    return Batch(padded[:both], targets, labels, padded[both:])


def _target_views(
    recipe: AdaptationRecipe, target: Sequence[NDArray[np.uint8]], step: int, generator: Generator, *, number: int
) -> tuple[list[Tensor], list[Tensor]]:
    if step < recipe.burn_in or not recipe.sees_target:
        return [], []
    empty = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    drawn = drawn_places(len(target), recipe.target_batch, step - recipe.burn_in, (recipe.seed, number))
    weak = [weak_view(to_image(target[index]), empty, generator, scales=recipe.scales)[0] for index in drawn]
    return weak, [strong_view(image, generator) for image in weak]


def _perhaps_strong(image: Tensor, share: float, generator: Generator) -> Tensor:
    return strong_view(image, generator) if float(torch.rand((), generator=generator)) < share else image
