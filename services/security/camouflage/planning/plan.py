"""What a camouflage is made for and how: the one description that requests, cost, job and report share."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.security.camouflage.meshes.cars import CarName

PatternName = Literal["pixels", "generator", "ddpm"]
"""Ways to make a texture: its texels themselves; a network whose weights are learned, on fixed noise (as the release of
FPA has it); or the start of a diffusion model whose weights are frozen (as its abstract has it)."""
PATTERNS: Final[tuple[PatternName, ...]] = ("pixels", "generator", "ddpm")

CoverMode = Literal["full", "sticker"]
StickerPlace = Literal["sides", "bonnet", "roof", "rear"]

_Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class LossWeights(BaseModel):
    """How much each part of the loss counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hide: _Weight = Field(default=1.0, description="That the victim does not find the car where it is")
    covert: _Weight = Field(default=0.0, description="Distance of the colours from those of the background")
    smooth: _Weight = Field(default=0.1, description="Total variation of the texture")
    printable: _Weight = Field(default=0.0, description="Distance of the colours from those that a printer has")


class Cover(BaseModel):
    """Which part of the paint is replaced."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: CoverMode = Field(default="full", description="All paint, or a few rectangles of it")
    share: float = Field(
        default=0.2,
        description="Of the painted surface in square metres, for stickers",
        gt=0,
        le=0.6,
        allow_inf_nan=False,
    )
    places: tuple[StickerPlace, ...] = Field(
        default=("sides",), description="Where stickers are", min_length=1, max_length=4
    )


class Views(BaseModel):
    """From where, in which light and before what the car is seen while a texture is made.

    All ranges are drawn from anew in each step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    elevation_degrees: tuple[float, float] = Field(default=(2.0, 30.0), description="Least and greatest")
    distance_m: tuple[float, float] = Field(default=(7.0, 16.0), description="Least and greatest")
    scenes: int = Field(default=64, description="Cameras that are computed once and drawn from", ge=4, le=512)
    lights: int = Field(default=64, description="Suns and skies that are drawn from", ge=1, le=64)
    side: int = Field(default=128, description="Pixels of the pictures' sides", ge=96, le=320)


class CamouflagePlan(BaseModel):
    """All that a run depends on, but for files: with the same plan, files and victim a texture comes out the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    car: CarName = Field(default="sedan", description="A built-in car, where no mesh is posted")
    pattern: PatternName = Field(default="pixels", description="How the texture is made")
    cover: Cover = Cover()
    weights: LossWeights = LossWeights()
    views: Views = Views()
    paint: tuple[int, int, int] = Field(default=(128, 128, 128), description="sRGB of what is not covered, 0 to 255")
    texture_side: Literal[128, 256, 512] = Field(default=256, description="Texels")
    steps: int = Field(default=300, description="Of the optimiser", ge=1, le=5000)
    batch: int = Field(default=8, description="Pictures in a step", ge=1, le=32)
    learning_rate: float | None = Field(
        default=None, description="Adam's; the pattern's own unless given", gt=0, le=1, allow_inf_nan=False
    )
    seed: int = Field(default=0, description="Of all that is drawn", ge=0, le=2**31 - 1)
