"""A run: step by step a texture that a victim finds less often.

A run is decided by its plan, mesh, victim, backgrounds and diffusion model. All that a step draws follows from the
plan's seed and the number of the step; with the pattern's and the optimiser's values, which `state` gives, a run that
is taken up again ends at the texture of an unbroken one (same machine, same number of threads).
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.optimisation.divergence import Diverged, require_finite
from services.security.camouflage.measurement.conditions import Backgrounds
from services.security.camouflage.meshes.atlas_maps import map_atlas
from services.security.camouflage.meshes.mesh import Mesh
from services.security.camouflage.optimisation.losses import SUREST, TextureLosses, best_scores, hide_loss
from services.security.camouflage.optimisation.patterns.making import make_pattern
from services.security.camouflage.optimisation.rendering.renderer import FrameBatch
from services.security.camouflage.optimisation.rendering.textures import LevelStack
from services.security.camouflage.optimisation.scenes import ScenePool, generator_of
from services.security.camouflage.optimisation.sensors import quantise, take_pictures
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.textures.covers import CoverMask, make_cover
from services.security.camouflage.textures.palettes import PRINTABLE, Palette

LARGEST_GRADIENT: Final = 5.0
"""Norm to which gradients are cut. Losses need no cap of their own: the hide loss ends at 9.3, and the others are
distances of colours."""
_LAST_RATE: Final = 0.1
"""Learning rate of the last step, as a share of the first; a cosine lies between."""


class Seen(Protocol):
    """What a victim finds in pictures."""

    @property
    def boxes(self) -> Tensor:
        """(pictures, regions, 4), left, top, right and bottom in pixels."""

    @property
    def scores(self) -> Tensor:
        """(pictures, regions) in [0, 1], the surest vehicle class; the gradient flows to the pictures."""


class Seer(Protocol):
    """A detector that gradients flow through; it is never changed."""

    def see(self, pictures: Tensor) -> Seen:
        """Look at pictures (n, 3, height, width), sRGB in [0, 1]."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did.

    Attributes:
        step: its number, from 1.
        losses: by name, without their weights: hide, covert, smooth, printable, and prior for `ddpm`.
        total: the weighted sum.
        score: of the surest box on the car, mean over the pictures.
        gradient: its norm before it was cut.
    """

    step: int
    losses: dict[str, float]
    total: float
    score: float
    gradient: float


class CamouflageRun:
    """Optimises a texture.

    Args:
        plan: all options.
        mesh: of the car.
        victim: that is not to find it; takes pictures of the plan's side.
        backgrounds: that the car is put in front of; its colours are the palette of the covert loss.
        prior: ONNX file of the diffusion model, for the pattern `ddpm`.
        initial: float32 (side, side, 3), sRGB in [0, 1], that the pattern `pixels` begins with in place of noise.

    Raises:
        CoverTooLarge: there is too little painted surface at the places of the plan.
        ValueError: the diffusion model is missing or another graph, or another pattern is to begin with a texture.
    """

    def __init__(
        self,
        plan: CamouflagePlan,
        mesh: Mesh,
        victim: Seer,
        backgrounds: Backgrounds,
        *,
        prior: bytes | None = None,
        initial: NDArray[np.float32] | None = None,
    ) -> None:
        self.plan, self.step_number = plan, 0
        maps = map_atlas(mesh, plan.texture_side, plan.texture_side)
        self.cover: CoverMask = make_cover(mesh, maps, plan.cover)
        self.scenes = ScenePool(plan, mesh, backgrounds)
        self.palette: Palette = self.scenes.palette()
        self.pattern = make_pattern(plan, self.cover, prior, initial)
        self._victim, self._levels = victim, LevelStack(maps.mask)
        colours = (torch.from_numpy(one) for one in (self.palette.colours, PRINTABLE))
        self._losses = TextureLosses(self.cover, *colours)
        self._mask = torch.from_numpy(self.cover.mask)
        self._paint = (torch.tensor(plan.paint, dtype=torch.float32) / 255)[:, None, None]
        rate = self.pattern.learning_rate if plan.learning_rate is None else plan.learning_rate
        self._rate, self._optimiser = rate, torch.optim.Adam(self.pattern.optimised(), lr=rate)

    @property
    def finished(self) -> bool:
        """Whether all steps of the plan are done."""
        return self.step_number >= self.plan.steps

    def step(self) -> StepReport:
        """Do one step.

        Raises:
            Diverged: loss or gradient are no numbers any more.
        """
        rng = generator_of(self.plan, self.step_number)
        self._set_learning_rate()
        texture = self._textured(torch.Generator().manual_seed(int(rng.integers(2**62))))
        losses, score = self._measure(texture, rng)
        weights = self.plan.weights.model_dump()
        total = torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        require_finite(float(total.detach()))
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        gradient = float(torch.nn.utils.clip_grad_norm_(self.pattern.optimised(), LARGEST_GRADIENT))
        if not math.isfinite(gradient):
            raise Diverged("The gradient is not finite. Lower the learning rate.")
        self._optimiser.step()
        self.step_number += 1
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        return StepReport(self.step_number, values, float(total.detach()), score, gradient)

    @torch.no_grad()
    def texture(self) -> NDArray[np.float32]:
        """The texture as it stands, float32 (side, side, 3), sRGB in [0, 1] in steps of 1 / 255: what is measured."""
        return self._textured(None).permute(1, 2, 0).contiguous().numpy()

    def state(self) -> bytes:
        """All that `restore` needs."""
        content = io.BytesIO()
        torch.save(
            {
                "plan": self.plan.model_dump_json(),
                "step": self.step_number,
                "pattern": self.pattern.state_dict(),
                "optimiser": self._optimiser.state_dict(),
            },
            content,
        )
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from where `state` was called.

        Raises:
            ValueError: it belongs to a run of another plan.
        """
        saved = torch.load(io.BytesIO(state), weights_only=True)
        if saved["plan"] != self.plan.model_dump_json():
            raise ValueError("the state belongs to a run of another plan")
        self.pattern.load_state_dict(saved["pattern"])
        self._optimiser.load_state_dict(saved["optimiser"])
        self.step_number = saved["step"]

    def _textured(self, noise: torch.Generator | None) -> Tensor:
        """Pattern where the cover is, paint elsewhere, in 8 bits; (3, side, side)."""
        return quantise(torch.where(self._mask, self.pattern(noise), self._paint))

    def _measure(self, texture: Tensor, rng: np.random.Generator) -> tuple[dict[str, Tensor], float]:
        """Losses that the plan weighs, and the mean score on the car."""
        cars = [self.scenes.draw(rng) for _ in range(self.plan.batch)]
        targets = torch.tensor([car.box for car in cars], dtype=torch.float32)
        pictures = take_pictures(FrameBatch([car.frame for car in cars], self._levels).render(texture), rng)
        seen = self._victim.see(pictures)
        losses = {"hide": hide_loss(seen.boxes, seen.scores, targets, surest=SUREST)}
        for name, weight in self.plan.weights:
            if name != "hide":
                # What weighs nothing is reported all the same, but needs no gradient.
                losses[name] = getattr(self._losses, name)(texture if weight else texture.detach())
        if self.plan.pattern == "ddpm":
            losses["prior"] = self.pattern.penalty()
        return losses, float(best_scores(seen.boxes, seen.scores.detach(), targets).mean())

    def _set_learning_rate(self) -> None:
        course = self.step_number / max(1, self.plan.steps)
        share = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, course)))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * share
