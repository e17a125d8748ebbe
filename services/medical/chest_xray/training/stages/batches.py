"""What a step learns from: augmented films with labels, tags and attention, the same for the same seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.medical.chest_xray.training.data.augmentation import AugmentationOptions, augment
from services.medical.chest_xray.training.data.manifest import TAGS, Film
from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.targets.simulation import SimulatedFilms, box_targets


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Films of a step.

    Attributes:
        films: float32 (n, 1, H, W) in [0, 1].
        labels: int64 (n,), classes, -1 where unknown.
        tags: float32 (n, tags + 1), 0 or 1, `nan` where unknown; the last is a radiologist's opacity.
        attention: float32 (n, H, W), densities; None where a stage needs none.
    """

    films: Tensor
    labels: Tensor
    tags: Tensor
    attention: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same on a device, with channels as the last axis in memory: a fifth faster by depthwise convolutions."""
        films = self.films.to(device, memory_format=torch.channels_last)
        attention = None if self.attention is None else self.attention.to(device)
        return Batch(films, self.labels.to(device), self.tags.to(device), attention)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Films that batches are drawn from, all in the same order.

    Attributes:
        arrays: uint8 (n, H, W).
        labels: int64 (n,).
        tags: float32 (n, tags + 1), `nan` where unknown.
        attention: (n, H, W), proportional to densities; None where there is none.
        balanced: whether classes are drawn alike often.
    """

    arrays: NDArray[np.uint8]
    labels: NDArray[np.int64]
    tags: NDArray[np.float32]
    attention: NDArray[np.floating] | None = None
    balanced: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def choose(self, place: int, seed: int) -> int:
        """The film at a place of an endless order: permutations one after the other, of each class in turn if balanced.

        Args:
            place: from 0 on.
            seed: of the order.
        """
        if not self.balanced:
            return _permuted(np.arange(len(self)), place, (seed,))
        classes = np.unique(self.labels)
        label = classes[place % len(classes)]
        return _permuted(np.flatnonzero(self.labels == label), place // len(classes), (seed, int(label)))


def _permuted(indices: NDArray[np.int64], place: int, seed: tuple[int, ...]) -> int:
    order = np.random.default_rng((*seed, place // len(indices))).permutation(len(indices))
    return int(indices[order[place % len(indices)]])


def real_source(films: PreparedFilms, *, balanced: bool = False) -> Source:
    """Films of the manifest with their labels and tags."""
    labels = np.array([film.label for film in films.films], np.int64)
    tags = np.array([tags_of(film) for film in films.films], np.float32).reshape(len(films), len(TAGS) + 1)
    return Source(films.arrays, labels, tags, balanced=balanced)


def simulated_source(films: SimulatedFilms) -> Source:
    """Films with inserted findings; their text tags are unknown."""
    tags = np.full((len(films), len(TAGS) + 1), np.nan, np.float32)
    return Source(films.arrays, films.labels, tags, films.attention)


def boxed_source(films: PreparedFilms) -> Source:
    """Films with a radiologist's boxes, and the observer's attention on them."""
    places, maps = box_targets(films)
    chosen = real_source(films.take(places))
    return Source(chosen.arrays, chosen.labels, chosen.tags, maps)


def tags_of(film: Film) -> list[float]:
    """Text-mined tags, then a radiologist's opacity or `nan`."""
    mined = [float(tag in film.tags) for tag in TAGS]
    return [*mined, np.nan if film.opacity is None else float(film.opacity)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """How many films of which source are in a batch, and how they are changed.

    Attributes:
        parts: sources with their counts, none of them 0.
        augmentation: limits of views.
        seed: of the run.
        attention: whether densities are drawn.
    """

    parts: Sequence[tuple[Source, int]]
    augmentation: AugmentationOptions
    seed: int
    attention: bool = False

    def draw(self, step: int) -> Batch:
        """The batch of a step; it depends on the seed and the step alone."""
        films, labels, tags, maps = [], [], [], []
        for part, (source, count) in enumerate(self.parts):
            order = self.seed * 16 + part
            chosen = [source.choose(place, order) for place in range(step * count, (step + 1) * count)]
            films += [source.arrays[index] for index in chosen]
            labels += [source.labels[index] for index in chosen]
            tags += [source.tags[index] for index in chosen]
            if self.attention:
                maps += [_density(source, index) for index in chosen]
        whole = torch.from_numpy(np.stack(films)[:, None]).float() / 255
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        moved = torch.from_numpy(np.stack(maps)) if self.attention else None
        seen, attention = augment(whole, self.augmentation, generator, maps=moved)
        return Batch(seen, torch.from_numpy(np.array(labels)), torch.from_numpy(np.stack(tags)), attention)


def _density(source: Source, index: int) -> NDArray[np.float32]:
    if source.attention is None:
        raise ValueError("this source has no attention")
    found = np.asarray(source.attention[index], np.float32)
    normalised: NDArray[np.float32] = found / found.sum()
    return normalised


def to_films(arrays: NDArray[np.uint8]) -> Tensor:
    """Bytes (n, H, W) as the network takes them, float32 (n, 1, H, W)."""
    return torch.from_numpy(np.array(arrays)[:, None]).float() / 255
