"""What a stage trains; all else stays bit for bit, running statistics of batch normalisation included."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from services.medical.chest_xray.training.networks.lite_encoder import LiteEncoder
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork


def train_only(network: ChestXrayNetwork, parts: Iterable[nn.Module]) -> None:
    """Put some parts of a network into training mode, all others into evaluation mode and out of reach of gradients.

    A frozen part whose normalisation stays in training mode keeps its weights and yet drifts, as in the authors' code
    (paper sheet, section 8, trap 3).
    """
    network.eval()
    network.requires_grad_(False)
    for part in parts:
        part.train()
        part.requires_grad_(True)
    if isinstance(network.first, LiteEncoder):
        for part in network.first.frozen_parts():
            part.requires_grad_(False)
        for norm in network.first.norms():
            norm.eval()
