"""All experiments in the order in which they are done: whatever exists at any time compares all arms fairly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from services.security.camouflage.meshes.cars import CARS, CarName
from services.security.camouflage.planning.plan import (
    PATTERNS,
    CamouflagePlan,
    Cover,
    LossWeights,
    PatternName,
    StickerPlace,
    Views,
)
from services.security.camouflage.textures.paints import Colour

VICTIM: Final = "vehicle-detector"
OUTSIDER: Final = "nanodet"
"""A detector that nobody here has trained."""
TWO_STAGE: Final = "vehicle-detector-two-stage"
"""The other detector of the fleet; it is asked where it is the victim, since it takes longest."""
HARDENED: Final = "hardened"
"""The victim after it was fine-tuned on generated textures."""

NOBODY: Final = "nobody"
"""Stands for the victim of textures that nobody optimised."""

Part = Literal["detectors", "unoptimised", "attack", "profile", "renderer", "lpips"]
CoverName = Literal["full", "sticker-10", "sticker-20", "sticker-40"]
CovertName = Literal["none", "low", "high"]

PAINTS: Final[dict[str, Colour]] = {
    "red": (176, 48, 40),
    "white": (230, 230, 228),
    "silver": (165, 168, 172),
    "black": (24, 24, 26),
    "blue": (30, 58, 120),
    "green": (40, 90, 60),
}
"""Plain paints; the first is what arms start from, and what stays around stickers."""
PAINT: Final = next(iter(PAINTS))

PLACES: Final[tuple[StickerPlace, ...]] = ("sides", "bonnet", "roof", "rear")
"""Of stickers: all, so that a share of 40 % has room, and shares differ in size alone."""
COVERT: Final[dict[CovertName, float]] = {"none": 0.0, "low": 1.0, "high": 5.0}
"""Weight of the covert loss, whose value is the distance in CIELAB over 100; that of the hide loss is 1."""
_HELD: Final[tuple[CovertName, ...]] = ("low", "high")
_NETWORKS: Final[tuple[PatternName, ...]] = ("generator", "ddpm")
_COVERS: Final[tuple[CoverName, ...]] = ("full", "sticker-20", "sticker-10", "sticker-40")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is spent; figures of different scales are not compared.

    Attributes:
        steps: of the optimiser.
        batch: pictures in a step.
        side: pixels of pictures.
        texture_side: texels.
        scenes: cameras that steps draw from.
        azimuths: of the grid that is measured, at three elevations and two distances.
        factor_shots: pictures of each grid where conditions of only one kind are unseen.
        seed: of everything that is drawn.
        backgrounds: frames of CARLA, or drawn streets.
    """

    steps: int = 150
    batch: int = 4
    side: int = 128
    texture_side: Literal[128, 256, 512] = 128
    scenes: int = 48
    azimuths: int = 8
    factor_shots: int = 16
    seed: int = 0
    backgrounds: Literal["carla", "streets"] = "streets"

    @property
    def name(self) -> str:
        """In keys."""
        whole = f"{self.steps}x{self.batch} {self.side}px {self.texture_side}tx {self.scenes}sc {self.azimuths}az"
        return f"{whole} {self.factor_shots}fs {self.backgrounds} {self.seed}"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One line of results.

    Attributes:
        part: `detectors`: a car in random plain paints; `unoptimised`: textures that nobody optimised; `attack`: one
            that was; `profile`: where a step's time goes; `renderer`: an attack's texture by a path tracer; `lpips`:
            how differently the car looks from what is behind it.
        car: that is painted.
        victim: name of the detector whose gradients are used, or that looks at what nobody optimised.
        pattern: how the texture is made.
        cover: of what is replaced.
        covert: weight of the covert loss, by name.
    """

    part: Part
    car: CarName = "sedan"
    victim: str = VICTIM
    pattern: PatternName = "pixels"
    cover: CoverName = "full"
    covert: CovertName = "none"

    @property
    def name(self) -> str:
        """Names it among those of one scale."""
        match self.part:
            case "detectors":
                return f"{self.part}/{self._other_victim}{self.car}"
            case "unoptimised":
                return f"{self.part}/{self._other_victim}{self.cover}"
            case "profile":
                return f"{self.part}/{self.victim}"
            case "attack" | "renderer" | "lpips":
                return f"{self.part}/{self.victim}/{self.pattern}/{self.cover}/{self.covert}"

    @property
    def _other_victim(self) -> str:
        return "" if self.victim == VICTIM else f"{self.victim}/"

    def key(self, scale: Scale) -> str:
        """Names it in the file of results."""
        return f"{self.name}/{scale.name}"

    def plan(self, scale: Scale) -> CamouflagePlan:
        """What a run of it is given."""
        return CamouflagePlan(
            car=self.car,
            pattern=self.pattern,
            cover=cover_of(self.cover),
            weights=LossWeights(covert=COVERT[self.covert]),
            views=Views(side=scale.side, scenes=scale.scenes),
            paint=PAINTS[PAINT],
            texture_side=scale.texture_side,
            steps=scale.steps,
            batch=scale.batch,
            seed=scale.seed,
        )


def cover_of(name: CoverName) -> Cover:
    """The cover of a name."""
    if name == "full":
        return Cover()
    return Cover(mode="sticker", share=int(name.removeprefix("sticker-")) / 100, places=PLACES)


def experiments(*, hardened: bool = False, reference: bool = False) -> Iterator[Experiment]:
    """All of them, in order: those that measure textures after all that make them.

    Args:
        hardened: whether there is a fine-tuned detector.
        reference: whether Mitsuba is at hand.
    """
    made = list(_experiments(hardened=hardened, reference=reference))
    yield from made
    for cover in _COVERS:
        yield Experiment("lpips", victim=NOBODY, cover=cover)
    yield from (replace(one, part="lpips") for one in made if one.part == "attack")


def _experiments(*, hardened: bool, reference: bool) -> Iterator[Experiment]:
    yield from (Experiment("detectors", car=car) for car in CARS)
    yield Experiment("unoptimised")
    yield Experiment("profile")
    yield Experiment("attack")
    if hardened:
        yield Experiment("attack", victim=HARDENED)
    yield from (Experiment("attack", pattern=pattern) for pattern in _NETWORKS)
    if reference:
        yield from (Experiment("renderer", pattern=pattern) for pattern in PATTERNS)
    for cover in _COVERS[1:]:
        yield Experiment("unoptimised", cover=cover)
        yield Experiment("attack", cover=cover)
    yield from (Experiment("attack", covert=covert) for covert in _HELD)
    yield Experiment("profile", victim=OUTSIDER)
    for pattern in PATTERNS:
        yield Experiment("attack", victim=OUTSIDER, pattern=pattern)
    for pattern in _NETWORKS:
        yield Experiment("attack", pattern=pattern, cover="sticker-20")
        yield from (Experiment("attack", pattern=pattern, covert=covert) for covert in _HELD)
    if hardened:
        yield from (Experiment("attack", victim=HARDENED, pattern=pattern) for pattern in _NETWORKS)
    yield from (Experiment("detectors", car=car, victim=TWO_STAGE) for car in CARS)
    yield Experiment("unoptimised", victim=TWO_STAGE)
    yield Experiment("profile", victim=TWO_STAGE)
    yield from (Experiment("attack", victim=TWO_STAGE, pattern=pattern) for pattern in PATTERNS)
