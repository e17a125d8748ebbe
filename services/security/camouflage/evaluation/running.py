"""Carries experiments out: one line of results for each."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from subprocess import CalledProcessError
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.security.camouflage.detection.detectors import VehicleDetector
from services.security.camouflage.detection.fleet_detectors import PRIOR
from services.security.camouflage.evaluation.backgrounds import BackgroundSplit
from services.security.camouflage.evaluation.car_sets import CarSet
from services.security.camouflage.evaluation.covertness import measure_covertness, measure_lpips
from services.security.camouflage.evaluation.experiments import (
    HARDENED,
    NOBODY,
    OUTSIDER,
    PAINT,
    PAINTS,
    TWO_STAGE,
    VICTIM,
    Experiment,
    Scale,
    cover_of,
)
from services.security.camouflage.evaluation.looking import describe, describe_all, look_at_pictures, look_at_textures
from services.security.camouflage.evaluation.models import ModelShelf
from services.security.camouflage.evaluation.profiling import peak_memory_mib, profile_steps
from services.security.camouflage.evaluation.reference_pictures import look_by_both_renderers
from services.security.camouflage.evaluation.run_files import RunFiles
from services.security.camouflage.evaluation.shots import FACTORS
from services.security.camouflage.measurement.measures import RESAMPLES
from services.security.camouflage.measurement.measuring import grey_of, quantise, random_texture
from services.security.camouflage.meshes.cars import CarName
from services.security.camouflage.optimisation.run import CamouflageRun
from services.security.camouflage.textures.covers import CoverMask, make_cover
from services.security.camouflage.textures.paints import plain_texture
from services.training.lpips import Lpips, published_lpips

Floats = NDArray[np.float32]
Line = dict[str, Any]

RANDOMS: Final = 4
"""Random camouflages of an area."""
START: Final = "start"
RESULT: Final = "result"
MADE_AGAINST: Final = "made against "
EARLIER: Final = f"{MADE_AGAINST}the detector before"
NOT_MADE: Final = (PAINT, "random 1")
"""Textures that nobody optimised and that a fine-tuned detector is shown, too."""
_PROFILED: Final = 6
_WARM_UP: Final = 4
_DRAWN_PAINTS: Final = 1_021


class NotPossible(Exception):
    """An experiment needs what is not here; the message says what."""


@dataclass
class Runner:
    """Runs experiments.

    Attributes:
        scale: of them.
        shelf: of models.
        split: of backgrounds.
        files: of textures and unfinished runs.
        threads: that detectors compute with.
        resamples: of bootstraps.
        make_lpips: opens the distance; called once, where it is needed.
    """

    scale: Scale
    shelf: ModelShelf
    split: BackgroundSplit
    files: RunFiles
    threads: int
    resamples: int = RESAMPLES
    make_lpips: Callable[[], Lpips] = field(default_factory=lambda: cache(published_lpips))
    _sets: dict[CarName, CarSet] = field(default_factory=dict)
    _opened: dict[str, VehicleDetector] = field(default_factory=dict)

    def run(self, experiment: Experiment) -> Line:
        """Carry one out.

        Raises:
            NotPossible: something is missing.
        """
        make = {
            "detectors": self._detect,
            "unoptimised": self._compare,
            "attack": self._attack,
            "profile": self._profile,
            "renderer": self._render,
            "lpips": self._compare_with_background,
        }[experiment.part]
        return {
            "key": experiment.key(self.scale),
            **asdict(experiment),
            "scale": asdict(self.scale),
            "backgrounds": self.split.name,
            **make(experiment),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        }

    def _detect(self, experiment: Experiment) -> Line:
        """A plain paint of any colour on each picture of the grid."""
        cars = self.car_set(experiment.car)
        rng = np.random.default_rng((self.scale.seed, _DRAWN_PAINTS))
        side, shots = self.scale.texture_side, cars.grid
        pictures = []
        for shot in shots.taken:
            red, green, blue = (int(one) for one in rng.integers(0, 256, 3))
            pictures.append(shot.with_texture(plain_texture((red, green, blue), side), cars.mask))
        found = {
            name: describe(look_at_pictures(shots.taken, pictures, detector), bins=True, resamples=self.resamples)
            for name, detector in self._lookers(experiment).items()
        }
        return {"pictures": len(pictures), "left_out": shots.left_out, "detectors": found}

    def _compare(self, experiment: Experiment) -> Line:
        """Plain paints, greys and random camouflages on as much as an attack of this cover has."""
        cars, cover = self.car_set(experiment.car), self._cover(experiment)
        textures = self._unoptimised(experiment, cover)
        detectors = self._lookers(experiment)
        looks = look_at_textures(cars.grid.taken, textures, cars.mask, detectors)
        line: Line = {
            "pictures": len(cars.grid.taken),
            "left_out": cars.grid.left_out,
            "share": round(cover.share, 4),
            "detectors": describe_all(looks, cars.plain_looks("all", detectors), resamples=self.resamples),
            "covertness": {name: measure_covertness(one, cover, cars.palette) for name, one in textures.items()},
        }
        if experiment.cover == "full":
            line["factors"] = {
                unseen: {
                    name: describe(one, resamples=self.resamples)
                    for name, one in cars.plain_looks(unseen, detectors).items()
                }
                for unseen in FACTORS
            }
        return line

    def _attack(self, experiment: Experiment) -> Line:
        """Steps, and then looks at the texture before the first and after the last."""
        cars, cover, key = self.car_set(experiment.car), self._cover(experiment), experiment.key(self.scale)
        run = self._begin(experiment)
        textures = {START: run.texture()}
        trace = self.files.finish(key, run)
        textures[RESULT] = quantise(run.texture())
        self.files.write_texture(key, textures[RESULT])
        if experiment.victim == HARDENED:
            textures |= self._shown_to_hardened(experiment, cover)
        made = self._made_against_others(experiment) if experiment.victim == TWO_STAGE else {}
        detectors = self.detectors(experiment.victim)
        victim = {experiment.victim: detectors[experiment.victim]}
        looks = look_at_textures(cars.grid.taken, textures, cars.mask, detectors)
        looks[experiment.victim] |= look_at_textures(cars.grid.taken, made, cars.mask, victim)[experiment.victim]
        line: Line = {
            "pictures": len(cars.grid.taken),
            "left_out": cars.grid.left_out,
            "share": round(cover.share, 4),
            "detectors": describe_all(looks, cars.plain_looks("all", detectors), bins=True, resamples=self.resamples),
            "factors": self._by_factor(cars, textures[RESULT], victim),
            "covertness": {
                name: measure_covertness(one, cover, cars.palette) for name, one in (textures | made).items()
            },
        }
        if experiment.victim == HARDENED:
            line["hardening"] = self.shelf.read_hardening()
        return line | {"trace": asdict(trace), "steps_done": run.step_number, "peak_mib": peak_memory_mib()}

    def _profile(self, experiment: Experiment) -> Line:
        return {"profile": profile_steps(self._begin(experiment), steps=_PROFILED, warm_up=_WARM_UP)}

    def _render(self, experiment: Experiment) -> Line:
        textures = {PAINT: plain_texture(PAINTS[PAINT], self.scale.texture_side), RESULT: self._made(experiment)}
        return look_by_both_renderers(self.car_set(experiment.car), textures, self.detectors(experiment.victim))

    def _compare_with_background(self, experiment: Experiment) -> Line:
        """LPIPS of the pictures of the grid to what is behind the car."""
        cars = self.car_set(experiment.car)
        if experiment.victim == NOBODY:
            textures = self._unoptimised(experiment, self._cover(experiment))
        else:
            textures = {RESULT: self._made(experiment)}
        try:
            distance = self.make_lpips()
        except CalledProcessError as error:
            raise NotPossible("the weights of LPIPS cannot be downloaded") from error
        shots = cars.grid.taken
        found = {name: measure_lpips(shots, quantise(one), cars.mask, distance) for name, one in textures.items()}
        return {"lpips": {name: [round(one, 4) for one in values] for name, values in found.items()}}

    def _made(self, experiment: Experiment) -> Floats:
        """The texture that an attack ended with."""
        attack = replace(experiment, part="attack")
        texture = self.files.read_texture(attack.key(self.scale))
        if texture is None:
            raise NotPossible(f"the texture of {attack.name} is not in the folder of runs")
        return texture

    def _by_factor(self, cars: CarSet, texture: Floats, detectors: Mapping[str, VehicleDetector]) -> Line:
        found: Line = {}
        for unseen in FACTORS:
            looks = look_at_textures(cars.shots[unseen].taken, {RESULT: texture}, cars.mask, detectors)
            plain = cars.plain_looks(unseen, detectors)
            found[unseen] = {
                name: describe(one[RESULT], plain[name], resamples=self.resamples) for name, one in looks.items()
            }
        return found

    def _begin(self, experiment: Experiment) -> CamouflageRun:
        if experiment.pattern == "ddpm" and not self.shelf.has_prior:
            raise NotPossible(f"the diffusion model {PRIOR} is not released")
        prior = self.shelf.find(PRIOR).weights if experiment.pattern == "ddpm" else None
        victim = self.shelf.find(experiment.victim).victim(self.scale.side)
        mesh = self.car_set(experiment.car).mesh
        return CamouflageRun(experiment.plan(self.scale), mesh, victim, self.split.learned, prior=prior)

    def _unoptimised(self, experiment: Experiment, cover: CoverMask) -> dict[str, Floats]:
        side, covered = self.scale.texture_side, cover.mask[..., None]
        base = plain_texture(PAINTS[PAINT], side)
        named = {"grey": plain_texture((grey_of(PAINTS[PAINT]),) * 3, side)}
        named |= {f"random {seed}": random_texture(side, seed) for seed in range(1, 1 + RANDOMS)}
        textures = {name: np.where(covered, one, base).astype(np.float32) for name, one in named.items()}
        paints = PAINTS if experiment.cover == "full" else {PAINT: PAINTS[PAINT]}
        return {name: plain_texture(paint, side) for name, paint in paints.items()} | textures

    def _cover(self, experiment: Experiment) -> CoverMask:
        cars = self.car_set(experiment.car)
        return make_cover(cars.mesh, cars.maps, cover_of(experiment.cover))

    def _shown_to_hardened(self, experiment: Experiment, cover: CoverMask) -> dict[str, Floats]:
        """What the same attack made of the detector before, and some that nobody optimised."""
        unoptimised = self._unoptimised(experiment, cover)
        before = self.files.read_texture(replace(experiment, victim=VICTIM).key(self.scale))
        return ({} if before is None else {EARLIER: before}) | {name: unoptimised[name] for name in NOT_MADE}

    def _made_against_others(self, experiment: Experiment) -> dict[str, Floats]:
        """Textures of the same attack on the other detectors, as far as they are in the folder of runs."""
        others = (VICTIM, OUTSIDER)
        found = {one: self.files.read_texture(replace(experiment, victim=one).key(self.scale)) for one in others}
        return {MADE_AGAINST + one: texture for one, texture in found.items() if texture is not None}

    def _lookers(self, experiment: Experiment) -> dict[str, VehicleDetector]:
        """Who looks at what nobody optimised: the two that look at everything, or another one alone."""
        detectors = self.detectors(experiment.victim)
        return detectors if experiment.victim == VICTIM else {experiment.victim: detectors[experiment.victim]}

    def detectors(self, victim: str = VICTIM) -> dict[str, VehicleDetector]:
        """The two that look at everything, and the victim if it is another."""
        for name in dict.fromkeys((VICTIM, OUTSIDER, victim)):
            if name not in self._opened:
                self._opened[name] = self.shelf.find(name).detector(self.threads)
        return {name: self._opened[name] for name in dict.fromkeys((VICTIM, OUTSIDER, victim))}

    def car_set(self, car: CarName) -> CarSet:
        """A car with its pictures."""
        if car not in self._sets:
            self._sets[car] = CarSet(car, self.scale, self.split)
        return self._sets[car]
