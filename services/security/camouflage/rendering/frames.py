"""Pictures whose texture is still open: linear light as a constant plus a gain times what each fragment samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.colours import to_linear, to_srgb
from services.security.camouflage.rendering.ground import GroundView, light_ground, see_ground
from services.security.camouflage.rendering.light import Exposure, Light, Materials, expose, fixed_colours, shade
from services.security.camouflage.rendering.sampling import Samples, plan_samples, sample, stack_levels
from services.security.camouflage.rendering.views import View, see_mesh

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A view with what of it depends neither on light nor on material nor on texture: computed once.

    Attributes:
        view: the fragments.
        exposure: what of sky and ground they see.
        ground: the ground on the picture.
        samples: texels of the painted fragments.
        texture_size: height and width of the texture that these lie in.
        fixed: float32 (n, 3), linear colours of the fragments that are not painted, zero for the others.
    """

    view: View
    exposure: Exposure
    ground: GroundView
    samples: Samples
    texture_size: tuple[int, int]
    fixed: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture that lacks its texture.

    Attributes:
        base: float32 (height, width, 3), linear: background, shadow, unpainted parts and reflections.
        pixels: int64 (n,), row * width + column of painted fragments.
        gains: float32 (n, 3), linear light of a pixel for a painted fragment that is white, its share
            of the pixel included.
        samples: texels of the same fragments.
        texture_size: height and width of the texture that these lie in.
    """

    base: Floats
    pixels: NDArray[np.int64]
    gains: Floats
    samples: Samples
    texture_size: tuple[int, int]


def make_scene(mesh: Mesh, camera: Camera, texture_size: tuple[int, int]) -> Scene:
    """All of a picture that does not depend on light; a tenth of a second for 128 x 128 pixels.

    Args:
        mesh: that is seen.
        camera: that sees it.
        texture_size: height and width of the textures that will be laid over it.

    Raises:
        ValueError: the camera is too near.
    """
    view = see_mesh(mesh, camera)
    painted = view.painted
    samples = plan_samples(view.uv[painted], view.footprints[painted], *texture_size)
    return Scene(view, expose(view), see_ground(view), samples, texture_size, fixed_colours(view))


def make_frame(scene: Scene, light: Light, materials: Materials, background: Floats) -> Frame:
    """A picture under a light, its texture left open.

    Args:
        scene: what is seen.
        light: on it.
        materials: of the parts.
        background: float32 (height, width, 3), sRGB in [0, 1].

    Raises:
        ValueError: the background is of another size.
    """
    view, camera = scene.view, scene.view.camera
    if background.shape != (camera.height, camera.width, 3):
        raise ValueError(f"the background is {background.shape}, the picture {camera.height} x {camera.width}")
    shading = shade(view, scene.exposure, light, materials)
    weights, painted = view.weights[:, None], view.painted
    fixed = weights * (shading.offset + shading.gain * scene.fixed)
    behind = to_linear(background) * light_ground(scene.ground, view.mesh, light)
    base = behind * (1 - view.coverage)[..., None] + add_up(fixed, view.pixels, camera)
    gains = (weights * shading.gain)[painted]
    return Frame(base, view.pixels[painted], gains, scene.samples, scene.texture_size)


def finish_frame(frame: Frame, texture: Floats, mask: NDArray[np.bool_]) -> Floats:
    """The picture with a texture.

    Args:
        frame: the rest of it.
        texture: float32 (texture height, texture width, 3), sRGB in [0, 1].
        mask: bool (texture height, texture width), the texels that lie on painted surface.

    Returns:
        float32 (height, width, 3), sRGB in [0, 1].

    Raises:
        ValueError: the texture is of another size than the frame was made for.
    """
    if not texture.shape[:2] == mask.shape == frame.texture_size:
        raise ValueError(f"the texture is {texture.shape[:2]}, the frame was made for {frame.texture_size}")
    height, width = frame.base.shape[:2]
    light = frame.gains * sample(stack_levels(to_linear(texture), mask), frame.samples)
    summed = [np.bincount(frame.pixels, light[:, band], minlength=height * width) for band in range(3)]
    return to_srgb(frame.base + np.stack(summed, axis=1).reshape(height, width, 3).astype(np.float32))


def add_up(values: Floats, pixels: NDArray[np.int64], camera: Camera) -> Floats:
    """Sums of values (n, 3) over the pixels they lie in, float32 (height, width, 3)."""
    size = camera.height * camera.width
    bands = [np.bincount(pixels, values[:, band], minlength=size) for band in range(3)]
    return np.stack(bands, axis=1).reshape(camera.height, camera.width, 3).astype(np.float32)
