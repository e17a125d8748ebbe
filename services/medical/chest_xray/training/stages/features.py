"""Features that no longer change, computed once for films and for some views of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.medical.chest_xray.training.data.augmentation import PLAIN, AugmentationOptions, augment
from services.medical.chest_xray.training.networks.network import Answer, ChestXrayNetwork
from services.medical.chest_xray.training.stages.batches import to_films

_CHUNK = 16

Films = NDArray[np.uint8]


@torch.no_grad()
def answers(
    network: ChestXrayNetwork, arrays: Films, *, augmentation: AugmentationOptions = PLAIN, seed: int = 0
) -> Iterator[Answer]:
    """What a network in evaluation mode says of films uint8 (n, H, W), a few at a time."""
    network.eval()
    for films in _films(network, arrays, augmentation, seed):
        yield network(films)


def pooled_features(
    network: ChestXrayNetwork, arrays: Films, *, augmentation: AugmentationOptions, views: int, seed: int
) -> Tensor:
    """What the fusion classifier reads, float32 (views * n, k): films as they are, then further views of all."""
    found = []
    for view in range(views):
        limits = PLAIN if view == 0 else augmentation
        found += [one.pooled.cpu() for one in answers(network, arrays, augmentation=limits, seed=seed * 64 + view)]
    return torch.cat(found)


def _films(network: ChestXrayNetwork, arrays: Films, augmentation: AugmentationOptions, seed: int) -> Iterator[Tensor]:
    for start in range(0, len(arrays), _CHUNK):
        films = to_films(arrays[start : start + _CHUNK])
        if augmentation != PLAIN:
            films, _ = augment(films, augmentation, torch.Generator().manual_seed(seed * 1_000_003 + start))
        yield films.to(network.device, memory_format=torch.channels_last)
