"""Captions as rows of numbers, and batches of photographs with all of their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.perception.captioning.training.features import VIEWS, Features
from services.perception.captioning.vocabulary import END, PAD, START, Vocabulary
from shared.captions.words import split_words
from shared.datasets.captioned_photos import CaptionedPhotos


@dataclass(frozen=True, slots=True)
class CaptionSet:
    """Features of photographs with their captions as words; the same order in both."""

    features: Features
    captions: list[list[list[str]]]

    def __len__(self) -> int:
        return len(self.captions)


def caption_set(photos: CaptionedPhotos, features: Features) -> CaptionSet:
    """Photographs with their features and the words of their captions."""
    if len(photos) != len(features):
        raise ValueError(f"{len(photos)} photographs, features of {len(features)}")
    return CaptionSet(features, [[split_words(caption) for caption in those] for those in photos.captions])


@dataclass(frozen=True, slots=True)
class Batch:
    """Photographs and all of their captions, the longest caption first.

    Attributes:
        maps: the fine one and the coarse one, float32 (photographs, channels, side, side).
        pictures: int64 (captions,), which photograph each caption is of.
        words: int64 (captions, words), each row begins with `START`.
        targets: int64 (captions, words), the words one later, with `END`; `PAD` behind it.
        lengths: int64 (captions,), how many words and targets count.
    """

    maps: tuple[Tensor, Tensor]
    pictures: Tensor
    words: Tensor
    targets: Tensor
    lengths: Tensor


def batches(
    data: CaptionSet, vocabulary: Vocabulary, *, size: int, longest: int, epoch: int, seed: int
) -> Iterator[Batch]:
    """One epoch of photographs, mirrored or not, the same whenever it is drawn again; a short rest is left out.

    Args:
        data: to draw from.
        vocabulary: of the words.
        size: photographs in a batch.
        longest: words of a caption that are kept.
        epoch: its number.
        seed: of the run.
    """
    random = np.random.default_rng((seed, epoch))
    order, views = random.permutation(len(data)), random.integers(0, VIEWS, len(data))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield make_batch(data, vocabulary, chosen, views[chosen], longest=longest)


def make_batch(
    data: CaptionSet,
    vocabulary: Vocabulary,
    photographs: NDArray[np.int64],
    views: NDArray[np.int64],
    *,
    longest: int,
) -> Batch:
    """Some photographs with all of their captions."""
    rows = [
        (place, vocabulary.encode(words[:longest]))
        for place, photograph in enumerate(photographs)
        for words in data.captions[photograph]
    ]
    rows.sort(key=lambda row: -len(row[1]))
    words = _fill([[START, *numbers] for _, numbers in rows])
    targets = _fill([[*numbers, END] for _, numbers in rows])
    pictures = torch.tensor([place for place, _ in rows])
    maps = data.features.take(photographs, views)
    return Batch(maps, pictures, words, targets, (targets != PAD).sum(dim=1))


def _fill(rows: Sequence[Sequence[int]]) -> Tensor:
    filled = torch.full((len(rows), max(map(len, rows))), PAD)
    for index, row in enumerate(rows):
        filled[index, : len(row)] = torch.tensor(row)
    return filled
