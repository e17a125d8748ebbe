"""What the routes of camouflages take and answer, and what their job gets."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from services.security.camouflage.detection.transfers import PREFIX, EndpointUsed
from services.security.camouflage.form_values import number_of
from services.security.camouflage.planning.plan import (
    CamouflagePlan,
    Cover,
    CoverMode,
    LossWeights,
    PatternName,
    StickerPlace,
    Views,
)
from services.security.camouflage.planning.subjects import SubjectOptions
from services.security.camouflage.render_schemas import TextureSide
from services.security.camouflage.textures.paints import HexColour, parse_colour
from shared.http.route_parts import File
from shared.problems import field_problem
from shared.runtime.cards import LONGEST_NAME, MODEL_NAME, ModelReference

DEFAULT_VICTIM: Final = "vehicle-detector"

MOST_TRANSFERS: Final = 4
BACKGROUND_FILES: Final = 64

_Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
_Name = Annotated[str, Field(pattern=MODEL_NAME, max_length=LONGEST_NAME)]
_Transfer = Annotated[
    str, Field(pattern=rf"^({PREFIX})?" + MODEL_NAME.removeprefix("^"), max_length=LONGEST_NAME + len(PREFIX))
]
_Degrees = Annotated[float, Field(ge=0, le=80, allow_inf_nan=False)]
_Metres = Annotated[float, Field(ge=4, le=60, allow_inf_nan=False)]


class CamouflageOptions(SubjectOptions):
    """How a camouflage is made; fields of a form."""

    victim: _Name = Field(
        default=DEFAULT_VICTIM,
        description="Name of the detector of `/v1/models` that the car is hidden from: its gradients are used",
    )
    transfer: list[_Transfer] = Field(
        default=[],
        max_length=MOST_TRANSFERS,
        description="Names of other detectors, which are only asked what they find in the end: of `/v1/models`, or "
        f"`{PREFIX}NAME` for one of `/v1/security/detector-endpoints`. Send the field again for each",
    )
    pattern: PatternName = Field(
        default="pixels",
        description="How the texture is made: `pixels`, its texels themselves; `generator`, a network on fixed noise; "
        "`ddpm`, the start of a diffusion model of textures",
    )
    mode: CoverMode = Field(default="full", description="What is replaced: all paint, or `sticker`s on it")
    share: float = Field(
        default=0.2, gt=0, le=0.6, allow_inf_nan=False, description="Of the painted surface, for stickers"
    )
    places: list[StickerPlace] = Field(
        default=["sides"], min_length=1, max_length=4, description="Where stickers are. Send the field again for each"
    )
    hide: _Weight = Field(default=1.0, description="Weight of: the victim does not find the car where it is")
    covert: _Weight = Field(default=0.0, description="Weight of: colours are near those of the backgrounds")
    smooth: _Weight = Field(default=0.1, description="Weight of the texture's total variation")
    printable: _Weight = Field(default=0.0, description="Weight of: colours are near those that a printer has")
    elevation_from: _Degrees = Field(default=2.0, description="Least elevation of cameras, in degrees")
    elevation_to: _Degrees = Field(default=30.0, description="Greatest one")
    distance_from: _Metres = Field(default=7.0, description="Least distance of cameras, in metres")
    distance_to: _Metres = Field(default=16.0, description="Greatest one")
    scenes: int = Field(default=64, ge=4, le=512, description="Cameras that are computed once and drawn from")
    lights: int = Field(default=64, ge=1, le=64, description="Suns and skies that are drawn from")
    side: int = Field(default=128, ge=96, le=320, description="Pixels of the pictures' sides")
    paint: HexColour = Field(default="#808080", description="sRGB of what is not covered, and of the plain car beside")
    texture_side: TextureSide = Field(default=256, description="Texels of the texture's sides")
    steps: int = Field(default=300, ge=1, le=5000, description="Of the optimiser")
    batch: int = Field(default=8, ge=1, le=32, description="Pictures in a step")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, allow_inf_nan=False, description="Adam's; the pattern's own unless given"
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of all that is drawn")
    azimuths: Annotated[Literal[4, 6, 8, 12, 24], BeforeValidator(number_of)] = Field(
        default=12,
        description="Of the grid that the result is measured on, at three elevations and two distances each",
    )
    horizon: float = Field(
        default=0.45,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Row of the horizon in posted backgrounds, as a share of their height",
    )

    def plan(self) -> CamouflagePlan:
        """The plan that they stand for.

        Raises:
            UnprocessableContent: a range ends before it begins.
        """
        for name in ("elevation", "distance"):
            if getattr(self, f"{name}_from") > getattr(self, f"{name}_to"):
                raise field_problem(f"/body/{name}_to", f"The greatest {name} is at least `{name}_from`.")
        return CamouflagePlan(
            car=self.car,
            pattern=self.pattern,
            cover=Cover(mode=self.mode, share=self.share, places=tuple(dict.fromkeys(self.places))),
            weights=LossWeights(hide=self.hide, covert=self.covert, smooth=self.smooth, printable=self.printable),
            views=Views(
                elevation_degrees=(self.elevation_from, self.elevation_to),
                distance_m=(self.distance_from, self.distance_to),
                scenes=self.scenes,
                lights=self.lights,
                side=self.side,
            ),
            paint=parse_colour(self.paint),
            texture_side=self.texture_side,
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=self.seed,
        )


class CamouflageForm(CamouflageOptions):
    """Multipart form of POST /v1/security/camouflages."""

    mesh: File | None = Field(default=None, description="A mesh in place of a `car`: OBJ, or GLB without compression")
    background: list[File] = Field(
        default=[],
        max_length=BACKGROUND_FILES,
        description="Pictures without cars that stand behind the car, or a ZIP of them; every fourth is kept for "
        "measuring. Streets are drawn unless given",
    )

    texture: File | None = Field(
        default=None,
        description="A texture that `pixels` begin with, in place of weak noise: PNG, JPEG, WebP or NPY of any size",
    )

    def options(self) -> CamouflageOptions:
        """What is no file."""
        values = {name: getattr(self, name) for name in CamouflageOptions.model_fields}
        return CamouflageOptions.model_construct(**values)


class CamouflageTask(BaseModel):
    """Arguments of the job."""

    options: CamouflageOptions
    victim: ModelReference = Field(description="As it was found when the job was asked for")
    transfer: list[ModelReference] = Field(description="Likewise")
    endpoints: list[EndpointUsed] = Field(default=[], description="Registered detectors, with their budgets")
    mesh: str | None = Field(default=None, description="Digest of the posted mesh")
    texture: str | None = Field(default=None, description="Digest of the texture that is begun with")
    backgrounds: list[str] = Field(description="Digests of background pictures")


class CostPart(BaseModel):
    """One part of a run."""

    purpose: Literal["scenes", "steps", "measures", "pictures"] = Field(description="What it is for")
    frames: int = Field(description="Pictures that are rendered")
    detections: int = Field(description="Pictures that a detector is shown")
    seconds: float = Field(description="About how long it takes on two busy cores")


class EndpointCost(BaseModel):
    """What a registered detector is asked."""

    name: str = Field(description="As `transfer` names it", examples=["endpoint:theirs"])
    owner: str = Field(description="Who owns the detector")
    queries: int = Field(description="Pictures that it is shown")
    budget: int = Field(description="Most that it is shown, further tries included; never exceeded")
    seconds_at_least: float = Field(description="By the rate that it allows")


class CamouflageCost(BaseModel):
    """What a camouflage costs; nothing has been started."""

    notice: str = Field(description="What whoever sees the result must know")
    frames: int = Field(description="Pictures that are rendered in all", examples=[2976])
    victim_evaluations: int = Field(description="Pictures that the victim is shown with gradients", examples=[2400])
    detections: int = Field(description="Pictures that detectors are shown in all", examples=[2976])
    seconds: float = Field(description="About how long it takes on two busy cores; a GPU is quicker", examples=[925.0])
    parts: list[CostPart] = Field(description="Where this comes from")
    victim: ModelReference = Field(description="The detector that the car is hidden from")
    transfer: list[ModelReference] = Field(description="Those of the fleet that are only asked")
    endpoints: list[EndpointCost] = Field(description="Registered ones that are only asked")
    memory_mib: int = Field(description="About what the run takes of its worker's memory", examples=[700])
    frames_limit: int = Field(description="Most pictures of the steps of a run here")
    seconds_limit: float = Field(description="Longest estimated time of a run here")
    memory_limit_mib: int = Field(description="Most memory of a run here")
    accepted: bool = Field(description="Whether the run would be accepted")
    advice: str | None = Field(description="What to lower; null: nothing")
    field: str | None = Field(description="The first field to lower; null: none", examples=[None])


class EndpointView(BaseModel):
    """A detector that the operator has registered."""

    name: str = Field(description="What `transfer` says after `endpoint:`")
    owner: str = Field(description="Who owns the detector")
    ownership: str = Field(description="The owner's statement that it may be tested, which the audit log repeats")
    queries_per_s: float = Field(description="Most pictures that it is shown in a second")
    concurrency: int = Field(description="Most pictures that are under way")


class EndpointsAnswer(BaseModel):
    """Detectors that the operator has registered."""

    endpoints: list[EndpointView] = Field(description="By name")
