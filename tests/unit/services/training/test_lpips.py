"""The distance of two pictures: held against its definition in NumPy and SciPy, and what its file may hold."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import correlate

from services.training.lpips import LEAST_SIDE, Lpips, read_weights, to_pictures
from tests.unit.services.training.random_lpips import random_lpips, random_weights

Floats = NDArray[np.float64]


def draw_pictures(count: int, height: int = 40, width: int = 52) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def convolve(picture: Floats, layer: dict[str, NDArray[np.float32]], stride: int, padding: int) -> Floats:
    padded = np.pad(picture, ((padding, padding), (padding, padding), (0, 0)))
    kernel = layer["kernel"].astype(float)
    bands = [
        correlate(padded, kernel[..., made], mode="valid")[::stride, ::stride, 0] for made in range(kernel.shape[3])
    ]
    return np.maximum(np.stack(bands, axis=-1) + layer["bias"], 0)


def pool(features: Floats) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(features, (3, 3), axis=(0, 1))
    return np.asarray(windows[::2, ::2].max(axis=(3, 4)))


def unit_features(picture: NDArray[np.uint8], weights: dict[str, Any]) -> list[Floats]:
    found = (picture / 127.5 - 1 - np.array([-0.030, -0.088, -0.188])) / np.array([0.458, 0.448, 0.450])
    features = []
    for number, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
        found = convolve(
            pool(found) if number in (1, 2) else found, weights["AlexNet_0"][f"Conv_{number}"], stride, padding
        )
        features.append(found / (np.linalg.norm(found, axis=-1, keepdims=True) + 1e-10))
    return features


def test_a_distance_is_that_of_its_definition() -> None:
    weights = random_weights()
    first, second = draw_pictures(2)
    expected = 0.0
    for number, (one, other) in enumerate(
        zip(unit_features(first, weights), unit_features(second, weights), strict=True)
    ):
        linear = weights[f"NetLinLayer_{number}"]["Conv_0"]["kernel"].reshape(-1)
        expected += float((((one - other) ** 2) @ linear).mean())
    found = Lpips(weights)(to_pictures(first[None]), to_pictures(second[None]))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_are_not_apart_and_order_does_not_matter() -> None:
    distance, pictures = random_lpips(), to_pictures(draw_pictures(3))
    assert distance(pictures, pictures).tolist() == [0, 0, 0]
    backwards = pictures.flip(0)
    assert torch.allclose(distance(pictures, backwards), distance(backwards, pictures))
    assert distance(pictures, backwards)[0] > 0.01


def test_maps_say_where() -> None:
    first = draw_pictures(1, 64, 128)
    second = first.copy()
    second[:, :, 96:] = 255 - second[:, :, 96:]
    (found,) = random_lpips().maps(to_pictures(first), to_pictures(second))
    assert found.shape == (64, 128)
    assert found[:, 100:].mean() > 20 * found[:, :32].mean()


def test_small_pictures_are_refused() -> None:
    distance = random_lpips()
    least = torch.zeros(1, 3, LEAST_SIDE, LEAST_SIDE)
    assert distance(least, least).item() == 0
    with pytest.raises(ValueError, match="at least 31 pixels"):
        distance(least[..., 1:], least[..., 1:])


def test_a_file_may_hold_arrays_alone() -> None:
    with pytest.raises(pickle.UnpicklingError, match="is no array"):
        read_weights(pickle.dumps({"AlexNet_0": print}))
