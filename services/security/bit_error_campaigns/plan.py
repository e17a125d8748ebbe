"""What a campaign evaluates, in which order, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.security.bit_error_campaigns.outlines import Outline
from services.security.bit_error_campaigns.schemas import CampaignOptions
from services.security.bit_errors.quantisation import BITS

MOST_DRAWN_CELLS: Final = 20_000_000
"""Faulty cells of one network, where each is drawn by itself; they take half a gigabyte meanwhile."""

Analysis = Literal["baseline", "curve", "layers", "bits"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One network that is evaluated on all pictures.

    Attributes:
        analysis: what it belongs to.
        rate: share of faulty cells; 0 of the baselines.
        seed: of the chip; 0 of the baselines.
        layer: the only one in failing memory; None for all.
        bit: the only position that may fail; None for all.
        stored: whether weights are read from the memory; not those of the model as it is.
    """

    analysis: Analysis
    rate: float = 0.0
    seed: int = 0
    layer: str | None = None
    bit: int | None = None
    stored: bool = True

    @property
    def varied(self) -> float | str | int | None:
        """What its analysis varies beside the seed."""
        return {"curve": self.rate, "layers": self.layer, "bits": self.bit}.get(self.analysis)

    def __str__(self) -> str:
        """For people."""
        if self.analysis == "baseline":
            return "weights as stored" if self.stored else "weights as given"
        if self.analysis == "layers":
            return f"layer {self.layer}, seed {self.seed}"
        if self.analysis == "bits":
            return f"bit {self.bit}, seed {self.seed}"
        return f"rate {self.rate:g}, seed {self.seed}"


def conditions(options: CampaignOptions, layers: Sequence[str]) -> list[Condition]:
    """All networks of a campaign: the baselines, then seed by seed, so that what there is so far covers every rate."""
    return [*_conditions(options, layers)]


def _conditions(options: CampaignOptions, layers: Sequence[str]) -> Iterator[Condition]:
    yield Condition("baseline", stored=False)
    yield Condition("baseline")
    if "curve" in options.analyses:
        for seed in options.seeds:
            yield from (Condition("curve", rate, seed) for rate in options.rates)
    rate = options.analysis_rate
    for seed in options.analysis_seeds:
        if "layers" in options.analyses:
            yield from (Condition("layers", rate, seed, layer=layer) for layer in layers)
    for seed in options.analysis_seeds:
        if "bits" in options.analyses:
            yield from (Condition("bits", rate, seed, bit=bit) for bit in range(BITS))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a campaign costs.

    Attributes:
        networks: by analysis.
        pictures: that each of them classifies.
        seconds: estimated.
        picture_bytes: memory of the pictures as the network takes them.
        drawn_cells: faulty cells that are drawn one by one for a network, at most.
    """

    networks: dict[Analysis, int]
    pictures: int
    seconds: float
    picture_bytes: int
    drawn_cells: int = 0

    @property
    def all_networks(self) -> int:
        """Networks of all analyses."""
        return sum(self.networks.values())

    @property
    def evaluations(self) -> int:
        """Pictures that networks classify, all together."""
        return self.all_networks * self.pictures


def cost_of(options: CampaignOptions, outline: Outline, *, pictures: int, picture_bytes: int) -> Cost:
    """The cost of a campaign.

    Args:
        options: what was asked for.
        outline: of the model.
        pictures: of the data set.
        picture_bytes: of one picture as the network takes it.
    """
    seeds = len(options.analysis_seeds)
    counts: dict[Analysis, int] = {
        "curve": len(options.seeds) * len(options.rates),
        "layers": seeds * len(outline.layers),
        "bits": seeds * BITS,
    }
    networks: dict[Analysis, int] = {"baseline": 2, **{name: counts[name] for name in options.analyses}}
    seconds = outline.timing.seconds(networks=sum(networks.values()), pictures=pictures)
    drawn = 0.0
    if options.layout == "iid":
        rates = [*options.rates, options.analysis_rate]
        drawn = max(rates) * BITS * sum(layer.weights for layer in outline.layers)
    return Cost(networks, pictures, seconds, pictures * picture_bytes, int(drawn))


@dataclass(frozen=True, slots=True)
class CostLimits:
    """The largest campaign: settings of the same names."""

    evaluations: int
    networks: int
    seconds: float
    picture_bytes: int


def excess(cost: Cost, limits: CostLimits) -> str | None:
    """What is too much, and what to lower; None where the campaign is within the limits."""
    if cost.all_networks > limits.networks:
        return (
            f"The campaign has {_written(cost)}; at most {limits.networks:,} networks are accepted. Ask for "
            f"{_fewer_networks(cost)}."
        )
    share = min(1.0, limits.evaluations / cost.evaluations, limits.seconds / max(cost.seconds, 1e-9))
    if share < 1:
        return (
            f"The campaign is {cost.evaluations:,} evaluations ({_written(cost)}) and about {cost.seconds:,.0f} s; at "
            f"most {limits.evaluations:,} evaluations and {limits.seconds:,.0f} s are accepted. {_advice(cost, share)}"
        )
    return _excess_of_memory(cost, limits)


def _excess_of_memory(cost: Cost, limits: CostLimits) -> str | None:
    if cost.picture_bytes > limits.picture_bytes:
        most = limits.picture_bytes * cost.pictures // cost.picture_bytes
        return (
            f"The pictures take {cost.picture_bytes / 2**20:,.0f} MiB as the network takes them, and "
            f"{limits.picture_bytes / 2**20:,.0f} MiB are given: set `images` to at most {most:,}."
        )
    if cost.drawn_cells > MOST_DRAWN_CELLS:
        return (
            f"The layout iid draws {cost.drawn_cells:,} faulty cells for a network, and at most {MOST_DRAWN_CELLS:,} "
            "are drawn: ask for lower rates, or for the layout tiled."
        )
    return None


def _written(cost: Cost) -> str:
    parts = " + ".join(f"{count:,} of {analysis}" for analysis, count in cost.networks.items())
    return f"{cost.all_networks:,} networks, {parts}, x {cost.pictures:,} pictures"


def _advice(cost: Cost, share: float) -> str:
    fewer = int(cost.pictures * share)
    pictures = f"Set `images` to about {fewer:,}, or ask for" if fewer >= 1 else "Ask for"
    return f"{pictures} {_fewer_networks(cost)}."


def _fewer_networks(cost: Cost) -> str:
    largest = max(cost.networks, key=lambda analysis: cost.networks[analysis])
    return "fewer rates or seeds" if largest == "curve" else f"fewer `analysis_seeds`, or `analyses` without {largest}"
