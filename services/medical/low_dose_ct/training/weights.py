"""Trained weights on disk: what a run's checkpoint holds, and the small half-precision files that are committed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.medical.low_dose_ct.training.network import WIDTHS, DRUNet

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Committed weights: the starting point of fine-tuning, and the networks that the released one is compared with."""

INTERPOLATED = "interpolated.pt"
"""File of a run beside its checkpoint."""


def load_network(path: Path, width: str) -> DRUNet:
    """Read the averaged weights of a run's checkpoint, or a committed half-precision file, into a network.

    Args:
        path: checkpoint.pt of a run, or a file of `save_half`.
        width: a key of `WIDTHS`; weights of another width are refused by torch with a RuntimeError.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    stored: dict[str, Tensor] = state["average"] if "average" in state else state["weights"]
    weights = {name.removeprefix("module."): value.float() for name, value in stored.items() if name != "n_averaged"}
    network = DRUNet(WIDTHS[width])
    network.load_state_dict(weights)
    return network.eval()


def interpolate(network: DRUNet, other: DRUNet, share: float) -> DRUNet:
    """A network whose weights lie between those of two, of which one was trained on from the other.

    So it has most of what the second has learned and loses less of what the first could do (Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022).

    Args:
        network: the first.
        other: the second, of the same width.
        share: of the second, 0 to 1.
    """
    between = copy.deepcopy(network)
    first, second = network.state_dict(), other.state_dict()
    between.load_state_dict({name: torch.lerp(first[name], second[name], share) for name in first})
    return between.eval()


def finished_weights(run: Path) -> Path:
    """Where the weights of a finished run are: interpolated with those it started from, if its recipe says so."""
    interpolated = run / INTERPOLATED
    return interpolated if interpolated.exists() else run / "checkpoint.pt"


def load_record(path: Path) -> dict[str, Any]:
    """What the run was: the record beside a run's checkpoint, or the one inside a committed file."""
    beside = path.with_name("run.json")
    if beside.exists():
        record: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        return record
    return dict(torch.load(path, map_location="cpu", weights_only=True)["record"])


def save_half(network: DRUNet, record: dict[str, Any], path: Path) -> None:
    """Store the weights in half precision (two bytes a parameter) with the record of their run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    torch.save({"weights": weights, "record": record}, path)
