"""The pattern that a plan asks for."""

from __future__ import annotations

from services.security.camouflage.covers import CoverMask
from services.security.camouflage.optimisation.patterns.ddpm import DiffusionPattern
from services.security.camouflage.optimisation.patterns.generator import GeneratorPattern
from services.security.camouflage.optimisation.patterns.pattern import Pattern
from services.security.camouflage.optimisation.patterns.pixels import PixelPattern
from services.security.camouflage.optimisation.patterns.prior_weights import read_prior
from services.security.camouflage.plan import CamouflagePlan


def make_pattern(plan: CamouflagePlan, cover: CoverMask, prior: bytes | None) -> Pattern:
    """A pattern at its beginning; the same for the same plan.

    Args:
        plan: that names it.
        cover: texels that it is for.
        prior: ONNX file of the diffusion model, for `ddpm`.

    Raises:
        ValueError: the diffusion model is needed and missing, or is another graph.
    """
    if plan.pattern == "pixels":
        return PixelPattern(plan.texture_side, plan.seed)
    if plan.pattern == "generator":
        return GeneratorPattern(plan.texture_side, plan.seed)
    if prior is None:
        raise ValueError("the pattern ddpm needs the diffusion model")
    return DiffusionPattern(read_prior(prior), cover, plan.seed)
