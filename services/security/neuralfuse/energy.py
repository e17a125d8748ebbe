"""Energy of weight memories, by the arithmetic of NeuralFuse (arXiv:2306.16869v3, section 4.4 and appendix C).

What is computed here follows from published constants and is no measurement of anything. Only dynamic energy of reading
weights is counted: no activations, no leakage, no slower clock. A saving is negative where a generator costs more than
the lower voltage saves, and stays negative here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

LOW_ENERGY_RATIO: Final = 0.694
"""Energy of a read at a bit error rate of 1 %, over that at Vmin. The text says "approximately 30 %" less (section 3.1,
of a 14 nm memory of Chandramoorthy et al. 2019); this value is what Table 2 and Table 6 imply together."""

PUBLISHED_SIDE: Final = 32
"""Height and width of the pictures that the published counts are for."""

CountSource = Literal["published weight accesses", "published MACs", "MACs counted in the graphs"]


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """What the paper counts of one network, for one picture of 32x32 (CIFAR-10).

    Attributes:
        weight_accesses: total weight memory accesses: "SRAM Filter Reads" of SCALE-SIM with a 32x32 array, output
            stationary, and 256 KB of weight memory (Table 6).
        macs: multiply-accumulates, of ptflops (Table 7).
        parameters: trained numbers (Table 7).
    """

    weight_accesses: int
    macs: float
    parameters: int


BASE_COUNTS: Final[Mapping[str, PublishedCounts]] = MappingProxyType(
    {
        "resnet18": PublishedCounts(2_755_968, 557.14e6, 11_173_962),
        "resnet50": PublishedCounts(6_182_144, 1.31e9, 23_520_842),
        "vgg11": PublishedCounts(1_334_656, 153.5e6, 9_231_114),
        "vgg16": PublishedCounts(2_366_848, 314.43e6, 14_728_266),
        "vgg19": PublishedCounts(3_104_128, 399.47e6, 20_040_522),
    }
)
"""By the name of the network in its card."""

GENERATOR_COUNTS: Final[Mapping[str, PublishedCounts]] = MappingProxyType(
    {
        "ConvL": PublishedCounts(320_256, 80.5e6, 723_273),
        "ConvS": PublishedCounts(41_508, 10.34e6, 113_187),
        "DeConvL": PublishedCounts(259_264, 64.69e6, 647_785),
        "DeConvS": PublishedCounts(86_208, 22.44e6, 156_777),
        "UNetL": PublishedCounts(180_894, 41.41e6, 482_771),
        "UNetS": PublishedCounts(45_711, 10.58e6, 121_195),
    }
)
"""By the paper's name of the architecture."""


@dataclass(frozen=True, slots=True)
class EnergyEstimate:
    """What a network costs at low voltage with a generator before it, all over its cost at nominal voltage.

    Attributes:
        source: of the counts.
        base: count of the classifier, for one picture.
        generator: count of the generator, which runs at nominal voltage; 0 without one.
        ratio: energy of one read at low voltage over that at nominal voltage.
    """

    source: CountSource
    base: float
    generator: float
    ratio: float

    @property
    def generator_share(self) -> float:
        """Cost of the generator over that of the classifier at nominal voltage."""
        return self.generator / self.base

    @property
    def saving_percent(self) -> float:
        """ES of equation 6, in percent: below zero where the generator costs more than is saved."""
        return energy_saving_percent(base=self.base, generator=self.generator, ratio=self.ratio)


def energy_saving_percent(*, base: float, generator: float, ratio: float = LOW_ENERGY_RATIO) -> float:
    """ES = (E_nominal - (E_low + E_generator)) / E_nominal * 100 (equation 6; with MACs: equation 7).

    Args:
        base: accesses, or MACs, of the classifier.
        generator: those of the generator, which is run at nominal voltage.
        ratio: energy of one access at low voltage over that at nominal voltage.

    Raises:
        ValueError: the classifier costs nothing.
    """
    if base <= 0:
        raise ValueError("the classifier has neither accesses nor MACs")
    return 100 * (base - (ratio * base + generator)) / base


def published_estimates(
    network: str | None, architecture: str | None, *, side: tuple[int, int], ratio: float
) -> list[EnergyEstimate]:
    """Estimates from the paper's counts: by accesses, then by MACs; none where it does not count these networks.

    Args:
        network: of the classifier, as its card names it.
        architecture: of the generator; None for no generator.
        side: height and width of the pictures.
        ratio: energy of one read at low voltage over that at nominal voltage.
    """
    base = BASE_COUNTS.get(network or "")
    generator = PublishedCounts(0, 0.0, 0) if architecture is None else GENERATOR_COUNTS.get(architecture)
    if base is None or generator is None or side != (PUBLISHED_SIDE, PUBLISHED_SIDE):
        return []
    return [
        EnergyEstimate("published weight accesses", base.weight_accesses, generator.weight_accesses, ratio),
        EnergyEstimate("published MACs", base.macs, generator.macs, ratio),
    ]
