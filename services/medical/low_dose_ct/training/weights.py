"""Trained weights on disk: what a run's checkpoint holds, and the small half-precision file that is committed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from services.medical.low_dose_ct.training.network import WIDTHS, DRUNet

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Committed starting points for fine-tuning."""


def load_network(path: Path, width: str) -> DRUNet:
    """Read the averaged weights of a run's checkpoint, or a committed half-precision file, into a network.

    Args:
        path: checkpoint.pt of a run, or a file of `save_half`.
        width: a key of `WIDTHS`; weights of another width are refused by torch with a RuntimeError.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    stored: dict[str, Tensor] = state["average"] if "average" in state else state
    weights = {name.removeprefix("module."): value.float() for name, value in stored.items() if name != "n_averaged"}
    network = DRUNet(WIDTHS[width])
    network.load_state_dict(weights)
    return network.eval()


def save_half(network: DRUNet, path: Path) -> None:
    """Store the weights alone, in half precision (two bytes a parameter)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.half().contiguous() for name, value in network.state_dict().items()}, path)
