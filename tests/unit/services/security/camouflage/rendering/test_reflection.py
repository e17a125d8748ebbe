"""Reflection: no more light leaves a surface than falls on it, and a white one keeps all of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.security.camouflage.rendering.reflection import LEAST_ROUGHNESS, reflect_layer, reflectance, schlick

ROUGHNESSES = (LEAST_ROUGHNESS, 0.15, 0.3, 0.6, 1.0)
COSINES = (0.05, 0.2, 0.5, 0.8, 1.0)


def integrate_layer(roughness: float, cosine: float, f0: float) -> float:
    """Share of a beam that the layer throws back, by a sum over directions of the upper half.

    It has nothing in common with the quadrature of the table, which runs over half vectors.
    """
    view = np.array([np.sqrt(1 - cosine**2), 0, cosine])
    polar = (np.arange(800) + 0.5) / 800 * np.pi / 2
    turn = (np.arange(800) + 0.5) / 800 * np.pi
    sine, height = np.sin(polar)[:, None], np.cos(polar)[:, None]
    light = np.stack((sine * np.cos(turn), sine * np.sin(turn), np.broadcast_to(height, (800, 800))), axis=-1)
    half = light + view
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    flat = (light[..., 2].ravel(), np.full(light[..., 0].size, cosine), np.full(light[..., 0].size, roughness))
    layer = reflect_layer(half[..., 2].ravel(), *flat).reshape(800, 800)
    fresnel = f0 + (1 - f0) * schlick(np.einsum("abk,k->ab", half, view).clip(0, 1))
    solid = sine * (np.pi / 2 / 800) * (np.pi / 800) * 2
    return float((layer * fresnel * light[..., 2] * solid).sum())


@pytest.mark.parametrize("roughness", [0.15, 0.3, 1.0])
@pytest.mark.parametrize("cosine", [0.2, 0.8])
def test_the_table_is_the_integral_of_the_layer(roughness: float, cosine: float) -> None:
    scale, bias = table_at(roughness, cosine)
    f0 = 0.04 if cosine < 0.5 else 0.9
    assert f0 * scale + bias == pytest.approx(integrate_layer(roughness, cosine, f0), abs=0.001)


def table_at(roughness: float, cosine: float) -> tuple[float, float]:
    scale, bias = reflectance().of(np.array([roughness], np.float32), np.array([cosine], np.float32))
    return float(scale[0]), float(bias[0])


def furnace(roughness: float, cosine: float, f0: float, colour: float) -> float:
    """Share of even light from all around that base and layer throw back towards a viewer."""
    scale, bias = table_at(roughness, cosine)
    layer = f0 * scale + bias
    cosines = (np.arange(4000) + 0.5) / 4000
    rough = np.full(4000, roughness, np.float32)
    scales, biases = reflectance().of(rough, cosines.astype(np.float32))
    let_in = 1 - f0 * scales - biases
    means: tuple[NDArray[np.float32], NDArray[np.float32]] = reflectance().mean(np.array([roughness], np.float32))
    mean = f0 * float(means[0][0]) + float(means[1][0])
    base = colour * (1 - layer) * float((let_in * cosines).mean() * 2) / (1 - mean)
    return layer + base


@pytest.mark.parametrize("roughness", ROUGHNESSES)
@pytest.mark.parametrize("f0", [0.0, 0.04, 0.5])
def test_no_light_is_gained_and_a_white_base_loses_none(roughness: float, f0: float) -> None:
    for cosine in COSINES:
        assert furnace(roughness, cosine, f0, 1.0) == pytest.approx(1, abs=0.002)
        assert furnace(roughness, cosine, f0, 0.5) < 0.9 + 0.1 * f0 + 0.1 * (1 - cosine) ** 2 + 1e-3
        assert furnace(roughness, cosine, f0, 0.0) < 1


def test_a_metal_never_gains() -> None:
    for roughness in ROUGHNESSES:
        for cosine in COSINES:
            scale, bias = table_at(roughness, cosine)
            assert 0.3 < scale + bias <= 1 + 1e-5


def test_a_rough_matt_surface_is_nearly_lamberts() -> None:
    # Without a reflection straight ahead, what differs from 1 / pi is what grazing light leaves on the layer.
    cosines = np.linspace(0.3, 1, 20).astype(np.float32)
    biases = reflectance().of(np.ones(20, np.float32), cosines)[1]
    assert biases.max() < 0.06
    assert np.abs((1 - biases) / (1 - float(reflectance().mean(np.ones(1, np.float32))[1][0])) - 1).max() < 0.05
