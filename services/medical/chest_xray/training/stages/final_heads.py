"""The linear heads for opacities and for frontal films, fitted when all else is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.medical.chest_xray.training.data.augmentation import AugmentationOptions
from services.medical.chest_xray.training.data.other_pictures import other_pictures
from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.heads import binary_logits, fit_head, fit_temperature
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.stages.features import frontal_features
from services.medical.chest_xray.training.stages.recipes import Recipe

FALSE_REFUSALS: Final = 0.01
"""Share of validation films that the frontal threshold refuses at most."""
FALSE_ACCEPTANCES: Final = 0.005
"""Share of other pictures of the validation part, beyond which the threshold need not be as strict as that."""
_SLIGHT: Final = AugmentationOptions(shift=0.02, rotation=3, scale=0.05, border=0, corners=0)
"""Views of what is no film, so that it is not known by what augmentation does to films."""

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
    head.store(network.opacity)
    features, labels, _ = _judged(*val)
    return fit_temperature(binary_logits(head.logits(features)), labels.astype(np.int64))


def _judged(films: PreparedFilms, pooled: Features) -> tuple[Features, NDArray[np.bool_], NDArray[Any]]:
    """Features, opacities and patients of the films that a radiologist judged, over all views."""
    views = len(pooled) // len(films)
    judged = np.tile([film.opacity is not None for film in films.films], views)
    labels = np.tile([bool(film.opacity) for film in films.films], views)
    patients = np.tile([film.patient for film in films.films], views)
    return pooled[judged], labels[judged], patients[judged]


def fit_frontal(
    network: ChestXrayNetwork, train: PreparedFilms, val: PreparedFilms, data: Path, recipe: Recipe
) -> float:
    """Fit the frontal head to films and to what is none.

    Args:
        network: whose head is fitted; its features depend on the frozen part of the first encoder alone.
        train: films of training.
        val: films of validation.
        data: folder of all data sets, for photographs and CT slices.
        recipe: of the run.

    Returns:
        The logit below which a picture is refused, see `choose_threshold`; 0 without a head.
    """
    if network.frontal is None:
        return 0.0
    own = np.array([film.patient for film in train.films])
    parts: list[tuple[NDArray[np.uint8], bool, AugmentationOptions, NDArray[Any]]] = [
        (train.arrays, True, recipe.augmentation, own),
        (train.arrays, True, _SLIGHT, own),
    ]
    others = other_pictures(data, train, "train", recipe.network.size, seed=recipe.seed)
    for kind, arrays in others.items():
        # Changed films are as many as films and belong to their patients; other pictures are each their own.
        groups = own if len(arrays) == len(own) else np.array([f"{kind} {index}" for index in range(len(arrays))])
        parts.append((arrays, False, _SLIGHT, groups))
    features = [
        frontal_features(network, arrays, augmentation=limits, seed=recipe.seed * 64 + index)
        for index, (arrays, _, limits, _) in enumerate(parts)
    ]
    labels = np.concatenate([np.full(len(arrays), frontal) for arrays, frontal, _, _ in parts])
    head = fit_head(np.concatenate(features), labels, np.concatenate([groups for *_, groups in parts]))
    head.store(network.frontal)
    unseen = other_pictures(data, val, "val", recipe.network.size, seed=recipe.seed)
    refused = np.concatenate([head.logits(frontal_features(network, arrays)) for arrays in unseen.values()])
    return choose_threshold(head.logits(frontal_features(network, val.arrays)), refused)


def choose_threshold(films: Features, others: Features) -> float:
    """The least logit of what is taken for a frontal film.

    Args:
        films: logits (n,) of films.
        others: logits (m,) of other pictures.

    Returns:
        Where the two overlap, the logit below which `FALSE_REFUSALS` of the films lie; else the middle between that and
        the logit above which `FALSE_ACCEPTANCES` of the others lie, since films of other hospitals lie lower, too.
    """
    lowest = float(np.sort(films)[int(FALSE_REFUSALS * len(films))]) - 1e-4
    highest = float(np.quantile(others, 1 - FALSE_ACCEPTANCES))
    return lowest if highest >= lowest else (lowest + highest) / 2
