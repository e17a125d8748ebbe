"""What low voltage saves of one classifier with one generator, from the best counts that there are of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.security.neuralfuse.energy import EnergyEstimate, published_estimates
from services.security.neuralfuse.generators import Generator
from services.security.neuralfuse.networks import Network, Networks
from services.security.neuralfuse.roles import BaseRole, role_of
from services.security.neuralfuse.voltages import energy_ratio_at, voltage_at


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one classifier with one generator.

    Attributes:
        ratio: energy of a read at low voltage over that at Vmin; None where the rate has no voltage.
        estimates: by each count that there is.
    """

    ratio: float | None
    estimates: Sequence[EnergyEstimate]


async def estimate_energy(network: Network, generator: Generator | None, *, rate: float, networks: Networks) -> Energy:
    """By the paper's counts where it has both networks at this size of pictures, else by counting in both graphs.

    Args:
        network: the classifier.
        generator: None for no generator.
        rate: share of faulty cells.
        networks: count what the paper does not.
    """
    voltage = voltage_at(rate)
    if voltage is None:
        return Energy(None, ())
    ratio, description = energy_ratio_at(voltage), network.description
    role, side = role_of(description.card), (description.height, description.width)
    published = published_estimates(
        role.network if isinstance(role, BaseRole) else None,
        None if generator is None else generator.role.architecture,
        side=side,
        ratio=ratio,
    )
    if published or not network.macs:
        return Energy(ratio, published)
    counted = 0 if generator is None else await networks.count_macs(generator.reference, side)
    if counted is None:
        return Energy(ratio, ())
    return Energy(ratio, [EnergyEstimate("MACs counted in the graphs", network.macs, counted, ratio)])
