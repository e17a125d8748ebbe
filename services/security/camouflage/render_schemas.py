"""What the route of renders takes and gives."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from services.security.camouflage.form_values import number_of
from services.security.camouflage.planning.subjects import SubjectOptions
from services.security.camouflage.rendering.reflection import LEAST_ROUGHNESS
from services.security.camouflage.textures.paints import HexColour
from shared.answers.representations import STORE_HELP, LinkedAnswer
from shared.http.route_parts import File

MOST_PIXELS: Final = 1024
"""Of a picture's side: one of 1024 x 1024 takes about six seconds of a slow core and 300 MiB."""

TextureSide = Annotated[Literal[128, 256, 512], BeforeValidator(number_of)]
"""Texels, as number or text."""

Shown = Literal["view", "uv"]

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class RenderOptions(SubjectOptions):
    """What is seen, from where and in which light."""

    show: Shown = Field(
        default="view", description="What the picture is: `view` of the camera, or `uv`, the texture in its atlas"
    )
    paint: HexColour = Field(default="#808080", description="sRGB of the paint, where no texture is posted")
    texture_side: TextureSide = Field(
        default=256, description="Texels of the square that a posted texture is resampled to"
    )
    azimuth: float = Field(
        default=35, ge=-360, le=360, allow_inf_nan=False, description="Degrees around the car, 0 in front, 90 left"
    )
    elevation: float = Field(
        default=12, ge=0, le=89, allow_inf_nan=False, description="Degrees of the camera above the horizon"
    )
    distance_m: float = Field(
        default=9, ge=1, le=100, allow_inf_nan=False, description="Metres to a point 0.7 m above the middle of the car"
    )
    field_of_view: float = Field(
        default=34, ge=2, le=120, allow_inf_nan=False, description="Degrees between upper and lower edge"
    )
    width: int = Field(default=480, ge=32, le=MOST_PIXELS, description="Pixels")
    height: int = Field(default=360, ge=32, le=MOST_PIXELS, description="Pixels")
    sun_azimuth: float = Field(
        default=60, ge=-360, le=360, allow_inf_nan=False, description="Degrees of the sun around the car"
    )
    sun_elevation: float = Field(
        default=50, ge=1, le=90, allow_inf_nan=False, description="Degrees of the sun above the horizon"
    )
    sky_share: _Share = Field(default=0.35, description="Of the light on level ground; 1 is overcast")
    warmth: float = Field(
        default=0.1, ge=0, le=0.9, allow_inf_nan=False, description="How much redder the sun is than the sky"
    )
    exposure: float = Field(
        default=0.8, ge=0.05, le=3, allow_inf_nan=False, description="Radiance of level white ground; 1 shows as white"
    )
    roughness: float = Field(
        default=0.3,
        ge=LEAST_ROUGHNESS,
        le=1,
        allow_inf_nan=False,
        description="Of the paint; GGX's alpha is its square",
    )
    f0: float = Field(
        default=0.04,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="Share of light from straight ahead that paint mirrors",
    )
    metallic: _Share = Field(default=0.0, description="Share of the paint that is metal")
    street: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the street that is drawn, where no background is posted"
    )
    horizon: _Share = Field(
        default=0.5, description="Row of the horizon in a posted background, as a share of its height"
    )
    zoom: float = Field(
        default=1, ge=1, le=8, allow_inf_nan=False, description="2 takes half the side of a posted background"
    )
    store: list[Literal["png", "npy"]] = Field(default=[], max_length=2, description=STORE_HELP)


class RenderForm(RenderOptions):
    """Multipart form of POST /v1/security/camouflages/renders."""

    file: File | None = Field(
        default=None,
        description="The texture: PNG, JPEG, WebP, or NPY (uint8, or float from 0 to 1); the upper row is at v = 1",
    )
    mesh: File | None = Field(default=None, description="A mesh in place of a `car`: OBJ, or GLB without compression")
    background: File | None = Field(default=None, description="What stands behind the car: PNG, JPEG or WebP")


class PaintedSurface(BaseModel):
    """The surface that is painted."""

    car: str = Field(description="Its name, or `posted`", examples=["sedan"])
    faces: int = Field(description="Triangles", examples=[6216])
    painted_m2: float = Field(description="Painted surface in square metres", examples=[19.4])
    texture_side: int = Field(description="Texels of a side of the texture as it was laid on", examples=[256])
    materials: dict[str, str] = Field(description="Of a posted mesh: the part that each material was taken for")
    unwrapped: bool = Field(
        description="Whether texture coordinates were made here, as the file has none to paint with"
    )


class RenderAnswer(LinkedAnswer):
    """What is on a rendered picture."""

    notice: str = Field(description="What whoever sees the picture must know")
    width: int = Field(description="Of the picture in pixels", examples=[480])
    height: int = Field(description="Of it", examples=[360])
    box: list[int] | None = Field(
        description="Left, top, right and bottom edge of the car in pixels, right and bottom excluded; null where no "
        "pixel shows it",
        examples=[[40, 130, 421, 268]],
    )
    visible_pixels: float = Field(description="Pixels that show the car, edges by their share", examples=[31840.5])
    visible_share: float = Field(description="The same as a share of the picture", examples=[0.184])
    painted_share: float = Field(description="Share of these that is paint; the rest is glass, wheels, lamps and trim")
    surface: PaintedSurface = Field(description="What is painted")
