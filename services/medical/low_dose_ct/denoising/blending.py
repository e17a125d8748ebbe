"""How much of a denoiser's answer an image gets: all of it at the noise it was tuned for, none where there is little.

A network that was tuned on low-dose scans changes a normal-dose slice for the worse: it smooths texture and sharpens
edges that were right. Its card says up to which noise (`noise.equivalent_noise`) an image is left as it is, and from
which on it gets the whole answer; in between the two are mixed in proportion. Nothing is extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from services.medical.low_dose_ct.denoising.noise import equivalent_noise
from services.medical.low_dose_ct.images.attenuation import MU_MAX, MU_PER_HU, attenuation_to_hu, hu_to_attenuation
from shared.imaging.dicom import AIR_HU
from shared.problems import UnprocessableContent
from shared.runtime.cards import UploadedCard

Image = NDArray[np.float32]

DEFAULT_NOISE_LEVEL: Final = 25 / 255
"""Fed to a model whose card names no level."""

HU_PER_ATTENUATION: Final = MU_MAX / MU_PER_HU


def _lowest() -> np.float32:
    """The smallest float32 that is at least -1024 HU when it is converted back."""
    lowest = np.float32(hu_to_attenuation(AIR_HU, clip=False))
    return lowest if attenuation_to_hu(lowest) >= AIR_HU else np.nextafter(lowest, np.float32(1))


VACUUM: Final = _lowest()
"""Normalised attenuation of -1024 HU."""


class DenoiserParameters(BaseModel):
    """What the card of a denoiser says of how it is to be run (`parameters`); other models have other parameters."""

    noise_level: float = Field(default=DEFAULT_NOISE_LEVEL, gt=0, description="Level that the network was tuned with")
    noise_range: tuple[float, float] | None = Field(
        default=None, description="Levels that it was trained with; without them it is fed `noise_level` only"
    )
    blend_hu: tuple[float, float] | None = Field(
        default=None,
        description="Noise in HU up to which an image stays as it is, and from which on it gets the whole answer",
    )
    receptive_field: int | None = Field(default=None, ge=0, description="Pixels that an answer depends on, each way")
    grid: int = Field(default=1, ge=1, description="Pixels that the coarsest scale is apart")

    @classmethod
    def of(cls, card: UploadedCard) -> DenoiserParameters:
        """Those of a card.

        Raises:
            UnprocessableContent: the card of an uploaded model says something else.
        """
        try:
            return cls.model_validate(card.parameters)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
            raise UnprocessableContent(
                f"The card of {card.name} {card.version} has parameters of another kind: {wrong}."
            ) from None


@dataclass(frozen=True, slots=True)
class Blend:
    """What one image gets.

    Attributes:
        level: noise that the network is fed, standard deviation in normalised attenuation.
        share: of the network's answer, 0 to 1.
        noise_hu: noise of the image that this follows from; None where the model's answer is always given whole.
        full_from_hu: noise from which on the share is 1.
    """

    level: float
    share: float = 1.0
    noise_hu: float | None = None
    full_from_hu: float | None = None


def blend_of(image: Image, parameters: DenoiserParameters, wanted: float | None = None) -> Blend:
    """Decide how much of a denoiser's answer an image gets.

    Args:
        image: normalised attenuation.
        parameters: of the denoiser.
        wanted: noise of the image as its owner knows it, normalised attenuation; by default it is estimated, where
            the denoiser wants to know.
    """
    if parameters.blend_hu is None:
        return Blend(level=wanted or parameters.noise_level)
    noise_hu = equivalent_noise(image) if wanted is None else wanted * HU_PER_ATTENUATION
    level = parameters.noise_level
    if parameters.noise_range is not None:
        least, most = parameters.noise_range
        level = min(max(noise_hu / HU_PER_ATTENUATION, least), most)
    return Blend(level, share_of(noise_hu, parameters.blend_hu), noise_hu, parameters.blend_hu[1])


def share_of(noise_hu: float, blend_hu: tuple[float, float]) -> float:
    """Share of the network's answer at some noise: 0 up to the first bound, 1 from the second on, linear between."""
    nothing_up_to, whole_from = blend_hu
    if noise_hu >= whole_from:
        return 1.0
    if noise_hu <= nothing_up_to:
        return 0.0
    return (noise_hu - nothing_up_to) / (whole_from - nothing_up_to)


def mix(image: Image, clean: Image | None, share: float) -> Image:
    """The image and the network's answer to it in proportion, never below vacuum (-1024 HU).

    Args:
        image: normalised attenuation.
        clean: the network's answer, of the same shape; not needed for a share of 0.
        share: of the answer.
    """
    mixed = image
    if clean is not None and share > 0:
        mixed = clean if share == 1 else image + np.float32(share) * (clean - image)
    return np.maximum(mixed, VACUUM)
