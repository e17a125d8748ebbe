"""The methods that a picture can be explained by, and what each is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """How relevance is found."""

    SRD = "srd"
    SRD_CONTRAST = "srd-contrast"
    CAM = "cam"
    GRAD_CAM = "grad-cam"
    LRP_EPSILON = "lrp-epsilon"
    LRP_Z_PLUS = "lrp-z-plus"
    INPUT_X_GRADIENT = "input-x-gradient"
    INTEGRATED_GRADIENTS = "integrated-gradients"
    RANDOM = "random"
    CENTRE = "centre"


@dataclass(frozen=True, slots=True)
class Description:
    """What a method is.

    Attributes:
        says: one sentence.
        source: publication.
        layers: whether it also answers at chosen layers.
    """

    says: str
    source: str
    layers: bool = False


DESCRIPTIONS: dict[Method, Description] = {
    Method.SRD: Description(
        "Sharing ratio decomposition: each position's share in the pre-activation vectors above it",
        "Han, Kim, Kwak 2024 (arXiv:2402.03348)",
        layers=True,
    ),
    Method.SRD_CONTRAST: Description(
        "The same from a head map less its mean: what speaks for this class rather than for the whole picture",
        "Han, Kim, Kwak 2024 (arXiv:2402.03348)",
        layers=True,
    ),
    Method.CAM: Description("Class activation map of the last feature map, enlarged", "Zhou et al. 2016"),
    Method.GRAD_CAM: Description(
        "Feature maps weighted by their mean gradient, enlarged", "Selvaraju et al. 2017", layers=True
    ),
    Method.LRP_EPSILON: Description("Layer-wise relevance propagation, epsilon rule", "Bach et al. 2015, equation 58"),
    Method.LRP_Z_PLUS: Description(
        "Layer-wise relevance propagation, positive contributions only", "Montavon et al. 2017, section 4"
    ),
    Method.INPUT_X_GRADIENT: Description("Normalised picture times gradient", "Shrikumar et al. 2016"),
    Method.INTEGRATED_GRADIENTS: Description(
        "Gradients integrated from a black picture to this one", "Sundararajan et al. 2017"
    ),
    Method.RANDOM: Description("Uniform noise: what a method has to beat", "-"),
    Method.CENTRE: Description("A Gaussian in the middle, which many pictures favour: the other thing to beat", "-"),
}
