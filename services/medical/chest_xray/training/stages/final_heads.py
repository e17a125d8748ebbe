"""The linear head for opacities, fitted when all else is trained, and priors of classes that were drawn alike often."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.heads.linear_heads import fit_head
from services.medical.chest_xray.training.heads.temperatures import fit_temperature
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork

Features = NDArray[np.float32]


def adjust_priors(layer: nn.Linear, labels: NDArray[np.int64]) -> None:
    """Take back that each class was drawn alike often: logarithms of the classes' shares are added to the biases.

    Args:
        layer: whose outputs are logits of classes.
        labels: of all training films, each class at least once.
    """
    shares = np.bincount(labels, minlength=layer.out_features) / len(labels)
    with torch.no_grad():
        layer.bias.add_(torch.from_numpy(np.log(shares)).to(layer.bias))


def fit_opacity(
    network: ChestXrayNetwork, train: tuple[PreparedFilms, Features], val: tuple[PreparedFilms, Features]
) -> float:
    """Fit the opacity head to films that a radiologist judged.

    Args:
        network: whose head is fitted.
        train: films with their pooled features, (views * n, k).
        val: likewise, one view.

    Returns:
        The temperature of its logit; 1 without a head.
    """
    if network.opacity is None:
        return 1.0
    features, labels, patients = _judged(*train)
    head = fit_head(features, labels, patients)
    with torch.no_grad():
        network.opacity.weight.copy_(torch.from_numpy(head.weight[:, 1])[None])
        network.opacity.bias.fill_(float(head.bias[1]))
    features, labels, _ = _judged(*val)
    return fit_temperature(head(features), labels)


def _judged(films: PreparedFilms, pooled: Features) -> tuple[Features, NDArray[np.int64], NDArray[Any]]:
    """Features, opacities and patients of the films that a radiologist judged, over all views."""
    views = len(pooled) // len(films)
    judged = np.tile([film.opacity is not None for film in films.films], views)
    labels = np.tile([int(bool(film.opacity)) for film in films.films], views)
    patients = np.tile([film.patient for film in films.films], views)
    return pooled[judged], labels[judged], patients[judged]
