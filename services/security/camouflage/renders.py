"""One picture of a painted surface, from the options of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.meshes.atlas_maps import AtlasMaps, map_atlas
from services.security.camouflage.meshes.mesh import Part
from services.security.camouflage.planning.subjects import Subject, find_subject
from services.security.camouflage.render_schemas import PaintedSurface, RenderAnswer, RenderOptions
from services.security.camouflage.rendering.backgrounds import draw_street, fit_background
from services.security.camouflage.rendering.camera import Camera
from services.security.camouflage.rendering.frames import Frame, Scene, finish_frame, make_frame, make_scene
from services.security.camouflage.rendering.light import MATERIALS, Material, make_daylight
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.textures.paints import parse_colour, plain_texture
from services.security.camouflage.textures.posted_textures import read_texture
from services.security.camouflage.textures.uv_previews import draw_uv_preview
from shared.http.negotiation import NPY
from shared.imaging.arrays import encode_npy
from shared.imaging.pictures import PICTURE_TYPES, decode_picture, encode_png
from shared.problems import field_problem
from shared.runtime.cancellation import current_cancellation

Floats = NDArray[np.float32]
Made = TypeVar("Made")

TEXTURE_POINTER: Final = "/body/file"
BACKGROUND_POINTER: Final = "/body/background"

COST: Final = 8
"""What a pixel of a rendered picture takes in memory, in pixels of a decoded one."""


@dataclass(frozen=True, slots=True)
class RenderFiles:
    """The files of a request."""

    texture: bytes | None = None
    mesh: bytes | None = None
    background: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Render:
    """A picture with what it was made of.

    Attributes:
        subject: what is painted.
        maps: of its atlas.
        texture: float32 (side, side, 3), sRGB in [0, 1].
        scene: what the camera sees.
        picture: float32 (height, width, 3), sRGB in [0, 1]: the view, or the atlas.
    """

    subject: Subject
    maps: AtlasMaps
    texture: Floats
    scene: Scene
    picture: Floats

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture, uint8."""
        return (self.picture * 255 + 0.5).astype(np.uint8)

    def encode(self, media_type: str) -> bytes:
        """The picture as a file: NPY of float32, or PNG."""
        return encode_npy(self.picture) if media_type == NPY else encode_png(self.pixels)

    def describe(self) -> RenderAnswer:
        """What is on it."""
        view, mesh = self.scene.view, self.subject.mesh
        visible = float(view.weights.sum())
        painted = float(view.weights[view.painted].sum())
        return RenderAnswer(
            notice=SIMULATION,
            width=view.camera.width,
            height=view.camera.height,
            box=None if view.box is None else list(view.box),
            visible_pixels=round(visible, 2),
            visible_share=round(visible / (view.camera.width * view.camera.height), 6),
            painted_share=round(painted / visible, 6) if visible else 0.0,
            surface=PaintedSurface(
                car=self.subject.name,
                faces=len(mesh.faces),
                painted_m2=round(float(mesh.areas[mesh.paintable].sum()), 3),
                texture_side=self.texture.shape[0],
                materials=self.subject.materials,
                unwrapped=self.subject.unwrapped,
            ),
        )


def render(options: RenderOptions, files: RenderFiles, *, pixel_limit: int) -> Render:
    """Render one view. Blocks, for up to seconds; stops between two steps when the caller goes away.

    Raises:
        Interrupted: the caller went away.
        Problem: a file cannot be used, or the camera stands inside of the mesh.
    """
    side = options.texture_side
    texture = _texture(options, files.texture, pixel_limit)
    subject = _between(lambda: find_subject(options, files.mesh))
    camera = camera_of(options)
    background = _between(lambda: _background(options, files.background, camera, pixel_limit))
    maps = _between(lambda: map_atlas(subject.mesh, side, side))
    scene = _between(lambda: _scene(subject, camera, side))
    if options.show == "uv":
        drawn = draw_uv_preview(texture, subject.mesh, maps)
        return Render(subject, maps, texture, scene, drawn.astype(np.float32) / np.float32(255))
    frame = _between(lambda: _frame(options, scene, background))
    return Render(subject, maps, texture, scene, finish_frame(frame, texture, maps.mask))


def camera_of(options: RenderOptions) -> Camera:
    """The camera that options stand for."""
    return Camera(
        options.azimuth, options.elevation, options.distance_m, options.field_of_view, options.width, options.height
    )


def _texture(options: RenderOptions, data: bytes | None, pixel_limit: int) -> Floats:
    if data is None:
        return plain_texture(parse_colour(options.paint), options.texture_side)
    return read_texture(data, options.texture_side, pixel_limit=pixel_limit, pointer=TEXTURE_POINTER)


def _background(options: RenderOptions, data: bytes | None, camera: Camera, pixel_limit: int) -> Floats:
    if data is None:
        return draw_street(camera, options.street)
    return fit_background(
        read_background(data, pixel_limit=pixel_limit, pointer=BACKGROUND_POINTER),
        options.horizon,
        camera,
        zoom=options.zoom,
    )


def read_background(data: bytes, *, pixel_limit: int, pointer: str) -> NDArray[np.uint8]:
    """A posted background, uint8 RGB (height, width, 3).

    Raises:
        Problem: it is no picture, too large or damaged.
    """
    scaled = decode_picture(data, limit_pixels=pixel_limit, accepted=PICTURE_TYPES, pointer=pointer).scaled()
    pixels = (scaled * 255 + 0.5).astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _scene(subject: Subject, camera: Camera, side: int) -> Scene:
    try:
        return make_scene(subject.mesh, camera, (side, side))
    except ValueError as error:
        raise field_problem("/body/distance_m", f"The camera is too near: {error}.") from None


def _frame(options: RenderOptions, scene: Scene, background: Floats) -> Frame:
    light = make_daylight(
        options.sun_azimuth,
        options.sun_elevation,
        sky_share=options.sky_share,
        warmth=options.warmth,
        exposure=options.exposure,
    )
    body = Material(options.roughness, options.f0, options.metallic)
    return make_frame(scene, light, {**MATERIALS, Part.BODY: body}, background)


def _between(make: Callable[[], Made]) -> Made:
    token = current_cancellation()
    if token is not None:
        token.raise_if_interrupted()
    return make()
