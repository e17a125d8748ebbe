"""The pattern that a plan asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.security.camouflage.optimisation.patterns.ddpm import DiffusionPattern
from services.security.camouflage.optimisation.patterns.generator import GeneratorPattern
from services.security.camouflage.optimisation.patterns.pattern import Pattern
from services.security.camouflage.optimisation.patterns.pixels import PixelPattern
from services.security.camouflage.optimisation.patterns.prior_weights import read_prior
from services.security.camouflage.planning.plan import CamouflagePlan
from services.security.camouflage.textures.covers import CoverMask


def make_pattern(
    plan: CamouflagePlan, cover: CoverMask, prior: bytes | None, initial: NDArray[np.float32] | None = None
) -> Pattern:
    """A pattern at its beginning; the same for the same plan.

    Args:
        plan: that names it.
        cover: texels that it is for.
        prior: ONNX file of the diffusion model, for `ddpm`.
        initial: float32 (side, side, 3), sRGB in [0, 1], that `pixels` begin with in place of noise.

    Raises:
        ValueError: the diffusion model is needed and missing, or is another graph; or another pattern is to begin with
            a texture.
    """
    if plan.pattern == "pixels":
        return PixelPattern(plan.texture_side, plan.seed, initial)
    if initial is not None:
        raise ValueError(f"the pattern {plan.pattern} cannot begin with a texture")
    if plan.pattern == "generator":
        return GeneratorPattern(plan.texture_side, plan.seed)
    if prior is None:
        raise ValueError("the pattern ddpm needs the diffusion model")
    return DiffusionPattern(read_prior(prior), cover, plan.seed)
