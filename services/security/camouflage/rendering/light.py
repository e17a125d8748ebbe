"""Sun, sky and ground, and what surfaces do with their light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.rendering.colours import to_linear
from services.security.camouflage.rendering.occlusion import direction_of, sun_map, surroundings_of
from services.security.camouflage.rendering.reflection import LEAST_ROUGHNESS, reflect_layer, reflectance, schlick
from services.security.camouflage.rendering.views import View

Floats = NDArray[np.float32]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Light:
    """What shines on a car, in linear RGB; a matt white surface of irradiance pi is as bright as white on a picture.

    Attributes:
        azimuth: degrees of the sun around the car, as a camera's.
        elevation: degrees of the sun above the horizon, in (0, 90].
        sun: irradiance on a surface that faces the sun.
        sky: radiance of the sky, the same everywhere.
        ground: share of light that the ground throws back.
    """

    azimuth: float
    elevation: float
    sun: Colour
    sky: Colour
    ground: Colour = (0.18, 0.17, 0.16)

    @property
    def level(self) -> Floats:
        """Irradiance of level ground that nothing hides, float32 (3,)."""
        height = np.sin(np.radians(self.elevation))
        return np.asarray(np.array(self.sun) * height + np.pi * np.array(self.sky), np.float32)


def make_daylight(
    azimuth: float, elevation: float, *, sky_share: float = 0.35, warmth: float = 0.1, exposure: float = 0.8
) -> Light:
    """Light of a day, so strong that level white ground is as bright as the exposure on a linear picture.

    Args:
        azimuth: degrees of the sun.
        elevation: degrees of the sun, above 0.
        sky_share: of the light on level ground, in [0, 1]; 1 is overcast.
        warmth: how much redder the sun is than the sky, in [0, 1).
        exposure: radiance of level white ground, 1 is as bright as the picture can show.

    Raises:
        ValueError: the sun is not above the horizon.
    """
    if elevation <= 0:
        raise ValueError("the sun is above the horizon")
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    sun = np.pi * exposure * (1 - sky_share) / np.sin(np.radians(elevation)) * tint
    sky = exposure * sky_share * tint[::-1]
    return Light(azimuth, elevation, _colour(sun), _colour(sky))


@dataclass(frozen=True, slots=True)
class Material:
    """How a part reflects.

    Attributes:
        roughness: in [LEAST_ROUGHNESS, 1]; its square is GGX's alpha.
        f0: share of light from straight ahead that the layer throws back, of what is no metal.
        metallic: share of the surface that is metal, which has no matt base and reflects in its colour; in [0, 1].
    """

    roughness: float
    f0: float = 0.04
    metallic: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values out of their ranges.

        Raises:
            ValueError: one is.
        """
        if not (LEAST_ROUGHNESS <= self.roughness <= 1 and 0 <= self.f0 < 1 and 0 <= self.metallic <= 1):
            raise ValueError(f"a roughness lies in [{LEAST_ROUGHNESS}, 1], f0 in [0, 1), metallic in [0, 1]")


Materials = dict[Part, Material]

MATERIALS: Final[Materials] = {
    Part.BODY: Material(0.30),
    Part.WINDOW: Material(0.10),
    Part.WHEEL: Material(0.55),
    Part.LIGHT: Material(0.15),
    Part.TRIM: Material(0.60),
}
"""Materials of the parts of a car. That of the body is varied while a texture is optimised."""


@dataclass(frozen=True, slots=True, eq=False)
class Shading:
    """Linear radiance of fragments as a function of their own colour: `colour * gain + offset`, float32 (n, 3) each."""

    gain: Floats
    offset: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """How much of sky and ground the fragments of a view see; depends on no light. float32 (n,) each."""

    sky: Floats
    ground: Floats


def expose(view: View) -> Exposure:
    """Shares of sky and ground that fragments see, past the mesh itself."""
    return Exposure(*surroundings_of(view.mesh).shares(view.positions, view.normals))


def shade(view: View, exposure: Exposure, light: Light, materials: Materials) -> Shading:
    """Radiance of the fragments of a view towards the camera."""
    roughness, f0, metallic = _by_part(view, materials)
    cosine = np.maximum(np.einsum("nk,nk->n", view.normals, view.directions), 1e-3)
    scale, bias = reflectance().of(roughness, cosine)
    passed = 1 - (f0 * scale + bias)
    gain, offset = _sunlight(view, light, (roughness, f0, metallic), cosine, passed)
    even, mirrored = _ambient(view, exposure, light, roughness, cosine)
    base = (1 - metallic) * passed
    gain += base[:, None] * even + (metallic * scale)[:, None] * mirrored
    offset += ((1 - metallic) * f0 * scale + bias)[:, None] * mirrored
    return Shading(gain, offset)


def _sunlight(
    view: View, light: Light, material: tuple[Floats, Floats, Floats], cosine: Floats, passed: Floats
) -> tuple[Floats, Floats]:
    """Gain and offset by the sun, in its shadow none; float32 (n, 3) each."""
    roughness, f0, metallic = material
    towards = direction_of(light.azimuth, light.elevation).astype(np.float32)
    facing = view.normals @ towards
    gain, offset = np.zeros((2, len(facing), 3), np.float32)
    lit = np.flatnonzero(facing > 1e-3)
    if len(lit) == 0:
        return gain, offset
    visible = sun_map(view.mesh, light.azimuth, light.elevation).visibility(view.positions[lit], view.normals[lit])
    facing, rough, f0, metal = facing[lit], roughness[lit], f0[lit], metallic[lit]
    half = view.directions[lit] + towards
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    layer = reflect_layer(np.einsum("nk,nk->n", half, view.normals[lit]).clip(0, 1), facing, cosine[lit], rough)
    grown = schlick((half @ towards).clip(0, 1))
    table = reflectance()
    scale, bias = table.of(rough, facing)
    mean_scale, mean_bias = table.mean(rough)
    let_in = (1 - f0 * scale - bias) / (1 - f0 * mean_scale - mean_bias)
    received = (facing * visible)[:, None] * np.array(light.sun, np.float32)
    matt = (1 - metal) * passed[lit] * let_in / np.float32(np.pi)
    gain[lit] = (matt + metal * layer * (1 - grown))[:, None] * received
    offset[lit] = (layer * ((1 - metal) * f0 * (1 - grown) + grown))[:, None] * received
    return gain, offset


def _ambient(view: View, exposure: Exposure, light: Light, roughness: Floats, cosine: Floats) -> tuple[Floats, Floats]:
    """Mean radiance that the base receives, and what the layer mirrors; float32 (n, 3) each."""
    sky = exposure.sky[:, None] * np.array(light.sky, np.float32)
    ground = exposure.ground[:, None] * (np.array(light.ground, np.float32) * light.level / np.float32(np.pi))
    up = (1 + view.normals[:, 2:]) / np.float32(2)
    mirror = 2 * cosine * view.normals[:, 2] - view.directions[:, 2]
    share: Floats = np.clip(0.5 + 0.5 * mirror / np.maximum(roughness, 0.1), 0, 1).astype(np.float32)[:, None]
    return np.asarray(sky * up + ground * (1 - up)), np.asarray(sky * share + ground * (1 - share))


def _by_part(view: View, materials: Materials) -> tuple[Floats, Floats, Floats]:
    """Roughness, f0 and metallic of the fragments, float32 (n,) each."""
    parts = view.mesh.parts[view.faces]
    chosen = [materials[part] for part in Part]
    table = np.array([(one.roughness, one.f0, one.metallic) for one in chosen], np.float32)
    roughness, f0, metallic = table[parts].T
    return roughness, f0, metallic


def fixed_colours(view: View) -> Floats:
    """Linear colours of the fragments that are not painted, zero for the others; float32 (n, 3)."""
    return np.where(view.painted[:, None], np.float32(0), to_linear(view.mesh.colours)[view.faces])


def _colour(values: NDArray[np.float64]) -> Colour:
    red, green, blue = (float(one) for one in values)
    return red, green, blue
