"""How much light surfaces throw back: a rough reflecting layer over a matt base, without gain of energy.

The layer is the microfacet model of Walter et al. 2007 with the distribution GGX, Smith's shadowing in separable form
and Schlick's Fresnel term. The base is coupled to it as by Kelemen and Szirmay-Kalos 2001: it gets what the layer lets
through on the way in and on the way out, so that a white base loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LEAST_ROUGHNESS: Final = 0.08
"""Below this the highlight of the sun is smaller than what a pixel sees of a car."""

_COSINES: Final = 48
_ROUGHNESSES: Final = 24
_RINGS: Final = 96
_TURNS: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Reflectance:
    """Share of even light from all around that the layer throws back: `f0 * scale + bias`.

    Attributes:
        scale: float32 (roughnesses, cosines), over roughness in [LEAST_ROUGHNESS, 1] and the cosine to the viewer.
        bias: float32 of the same shape.
    """

    scale: Floats
    bias: Floats

    def of(self, roughness: Floats, cosine: Floats) -> tuple[Floats, Floats]:
        """Scale and bias at roughnesses and cosines, float32 (n,) each, linear between grid points."""
        y = (np.clip(roughness, LEAST_ROUGHNESS, 1) - LEAST_ROUGHNESS) / (1 - LEAST_ROUGHNESS) * (_ROUGHNESSES - 1)
        # Cosines are finer where light grazes.
        x = np.sqrt(np.clip(cosine, 0, 1)) * (_COSINES - 1)
        row = np.minimum(y.astype(np.int32), _ROUGHNESSES - 2)
        column = np.minimum(x.astype(np.int32), _COSINES - 2)
        down, right = (y - row).astype(np.float32), (x - column).astype(np.float32)
        index = row * _COSINES + column
        return _between(self.scale, index, down, right), _between(self.bias, index, down, right)

    def mean(self, roughness: Floats) -> tuple[Floats, Floats]:
        """Scale and bias averaged over all directions, weighted by the cosine; float32 of the roughness's shape."""
        cosines = (np.arange(_COSINES) / (_COSINES - 1)) ** 2
        levels = np.linspace(LEAST_ROUGHNESS, 1, _ROUGHNESSES)
        scale, bias = (
            np.interp(roughness, levels, 2 * np.trapezoid(table * cosines, cosines, axis=1)).astype(np.float32)
            for table in (self.scale, self.bias)
        )
        return scale, bias


def _between(table: Floats, index: NDArray[np.int32], down: Floats, right: Floats) -> Floats:
    flat = table.reshape(-1)
    upper = flat[index] + (flat[index + 1] - flat[index]) * right
    lower = flat[index + _COSINES] + (flat[index + _COSINES + 1] - flat[index + _COSINES]) * right
    return np.asarray(upper + (lower - upper) * down)


def reflect_layer(normal_half: Floats, normal_light: Floats, normal_view: Floats, roughness: Floats) -> Floats:
    """Distribution and shadowing of the layer over `4 (n.l) (n.v)`: what Fresnel's term is multiplied with, per sr.

    Args:
        normal_half: float32 (n,), cosine of the half vector, in [0, 1].
        normal_light: of the light, in (0, 1].
        normal_view: of the viewer, in (0, 1].
        roughness: its square is GGX's alpha, in [LEAST_ROUGHNESS, 1].
    """
    squared = roughness**4
    distribution = squared / (np.pi * (normal_half**2 * (squared - 1) + 1) ** 2)
    return np.asarray(distribution * _smith(normal_light, squared) * _smith(normal_view, squared))


def _smith(cosine: Floats, squared: Floats) -> Floats:
    """Smith's term of one direction, over twice its cosine."""
    return np.asarray(1 / (cosine + np.sqrt(squared + (1 - squared) * cosine**2)))


def schlick(cosine: Floats) -> Floats:
    """How far Fresnel's term has gone from f0 to 1 at the cosine between half vector and light."""
    complement = 1 - cosine
    square = complement * complement
    return square * square * complement


@lru_cache(maxsize=1)
def reflectance() -> Reflectance:
    """The table, by quadrature over half vectors that are spread as the distribution is; a tenth of a second, once."""
    levels = np.linspace(LEAST_ROUGHNESS, 1, _ROUGHNESSES)
    cosines = np.maximum((np.arange(_COSINES) / (_COSINES - 1)) ** 2, 1e-4)
    rows = [_integrate(level, cosines) for level in levels]
    return Reflectance(np.array([row[0] for row in rows], np.float32), np.array([row[1] for row in rows], np.float32))


def _integrate(roughness: float, view: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and bias of one roughness at cosines of the viewer (cosines,)."""
    squared = roughness**4
    # Rings are denser at flat angles, where the few half vectors are that throw grazing light far.
    left = (1 - (np.arange(_RINGS) + 0.5) / _RINGS)[:, None]
    share = 1 - left[:, 0] ** 2
    half = np.sqrt((1 - share) / (1 + (squared - 1) * share))
    turns = (np.arange(_TURNS) + 0.5) / _TURNS * np.pi
    across = np.sqrt(1 - half**2)[:, None] * np.cos(turns)
    v = view[:, None, None]
    view_half = np.maximum(np.sqrt(1 - v**2) * across + v * half[:, None], 0)
    light = 2 * view_half * half[:, None] - v
    seen = light > 0
    light = np.where(seen, light, 1.0)
    term = _smith64(light, squared) * _smith64(v, squared) * 4 * light * view_half / half[:, None]
    term = np.where(seen, term, 0) * 2 * left
    grown = (1 - view_half) ** 5
    return (term * (1 - grown)).mean(axis=(1, 2)), (term * grown).mean(axis=(1, 2))


def _smith64(cosine: NDArray[np.float64], squared: float) -> NDArray[np.float64]:
    return np.asarray(1 / (cosine + np.sqrt(squared + (1 - squared) * cosine**2)))
