"""The baseline of a captioner: the caption of a training photograph whose features are most alike.

Of the neighbours' captions it takes the one that agrees best with the others (Devlin et al. 2015, arXiv:1505.04467).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.perception.captioning.training.data import CaptionSet
from services.perception.captioning.training.features import Features
from shared.captions.cider import DocumentFrequencies, cider_d, document_frequencies

_PART = 256


def pooled(features: Features) -> NDArray[np.float32]:
    """Mean of each channel of both maps, unmirrored; float32 (photographs, channels)."""
    return np.concatenate([_means(features.fine), _means(features.coarse)], axis=1)


def neighbour_captions(training: CaptionSet, asked: Features, *, neighbours: int = 1) -> list[list[str]]:
    """A caption of each photograph that is asked for.

    Args:
        training: photographs with captions.
        asked: features of others.
        neighbours: whose captions are looked at; with 1 it is the caption on which that photograph's writers agree
            most.
    """
    known, sought = pooled(training.features), pooled(asked)
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    known, sought = (_normalised((one - mean) / deviation) for one in (known, sought))
    nearest = np.argsort(-(sought @ known.T), axis=1, kind="stable")[:, :neighbours]
    frequencies = document_frequencies(training.captions)
    return [
        consensus([words for index in row for words in training.captions[index]], frequencies)
        for row in nearest.tolist()
    ]


def consensus(captions: Sequence[list[str]], frequencies: DocumentFrequencies) -> list[str]:
    """The caption with the highest CIDEr-D against all others."""
    if len(captions) == 1:
        return captions[0]
    others = [[*captions[:index], *captions[index + 1 :]] for index in range(len(captions))]
    return captions[int(np.argmax(cider_d(captions, others, frequencies)))]


def _means(maps: NDArray[np.float16]) -> NDArray[np.float32]:
    parts = [maps[start : start + _PART, 0].astype(np.float32) for start in range(0, len(maps), _PART)]
    return np.concatenate([part.mean(axis=(2, 3), dtype=np.float32) for part in parts])


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    found: NDArray[np.float32] = (rows / lengths).astype(np.float32)
    return found
