"""A car with all that its textures are measured with: pictures and looks at plain paint are made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import VehicleDetector
from services.security.camouflage.evaluation.backgrounds import BackgroundSplit
from services.security.camouflage.evaluation.experiments import PAINT, PAINTS, Experiment, Scale
from services.security.camouflage.evaluation.looking import look_at_textures
from services.security.camouflage.evaluation.shots import FACTORS, Shots, Unseen, take_factor, take_grid
from services.security.camouflage.measurement.conditions import draw_camera
from services.security.camouflage.measurement.measures import Look
from services.security.camouflage.measurement.measuring import Stage
from services.security.camouflage.meshes.atlas_maps import AtlasMaps, map_atlas
from services.security.camouflage.meshes.cars import CarName, make_car
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.textures.paints import plain_texture
from services.security.camouflage.textures.palettes import Palette, find_palette

_PALETTE_PICTURES = 16


@dataclass
class CarSet:
    """A car before held-out backgrounds.

    Attributes:
        car: which.
        scale: of the evaluation.
        split: of the backgrounds.
    """

    car: CarName
    scale: Scale
    split: BackgroundSplit
    _plain: dict[tuple[Unseen, str], list[Look]] = field(default_factory=dict)

    @cached_property
    def plan(self) -> CamouflagePlan:
        """What all runs with this car share."""
        return Experiment("attack", car=self.car).plan(self.scale)

    @cached_property
    def mesh(self) -> Mesh:
        """Of the car."""
        return make_car(self.car)

    @cached_property
    def maps(self) -> AtlasMaps:
        """Of its textures."""
        return map_atlas(self.mesh, self.scale.texture_side, self.scale.texture_side)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Texels on paint."""
        return self.maps.mask

    @property
    def stage(self) -> Stage:
        """The car with held-out backgrounds."""
        return Stage(self.mesh, self.mask, self.split.held_out, self.scale.side)

    @cached_property
    def shots(self) -> Mapping[Unseen, Shots]:
        """Pictures by what of them is unseen."""
        factors: dict[Unseen, Shots] = {
            unseen: take_factor(unseen, self.stage, self.plan, self.split, count=self.scale.factor_shots)
            for unseen in FACTORS
        }
        return factors | {"all": self.grid}

    @cached_property
    def grid(self) -> Shots:
        """Pictures of which all is unseen."""
        return take_grid(self.stage, self.plan, azimuths=self.scale.azimuths)

    @cached_property
    def palette(self) -> Palette:
        """Colours of the held-out backgrounds."""
        rng = np.random.default_rng(self.scale.seed)
        backgrounds = self.split.held_out
        pictures = [
            backgrounds.see(number % len(backgrounds), draw_camera(self.plan.views, rng))
            for number in range(_PALETTE_PICTURES)
        ]
        return find_palette(pictures, seed=self.scale.seed)

    def plain_looks(self, unseen: Unseen, detectors: Mapping[str, VehicleDetector]) -> dict[str, list[Look]]:
        """Looks of detectors at the car in the paint that arms start from."""
        shots = self.grid if unseen == "all" else self.shots[unseen]
        new = {name: one for name, one in detectors.items() if (unseen, name) not in self._plain}
        paint = {PAINT: plain_texture(PAINTS[PAINT], self.scale.texture_side)}
        for name, textures in look_at_textures(shots.taken, paint, self.mask, new).items():
            self._plain[unseen, name] = textures[PAINT]
        return {name: self._plain[unseen, name] for name in detectors}
