"""Finished runs: the record that a card states, and the networks in their checkpoints."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from services.security.neuralfuse.training.base_networks import BASE_NETWORKS
from services.security.neuralfuse.training.generator_training import make_fuse
from services.security.neuralfuse.training.generators import Fuse


@dataclass(frozen=True, slots=True)
class Record:
    """How weights came about.

    Attributes:
        recipe: all options of the run.
        hours: that it took, with the run that it goes on from.
        machine: in words.
        validation: accuracies after the last epoch.
        command: that reproduces it.
        before: of the run that it goes on from.
    """

    recipe: Mapping[str, Any]
    hours: float
    machine: str
    validation: list[float]
    command: str
    before: Record | None = None


def read_record(folder: Path, command: str) -> Record:
    """The record of a run.

    Args:
        folder: of the run.
        command: its beginning, in front of the options.

    Raises:
        ValueError: the run is not finished.
    """
    state = _checkpoint(folder)
    recipe = state["recipe"]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    found = log[-1]["validation"]
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in recipe.items() if value != "")
    before = read_record(folder.parent / recipe["start"], command) if recipe["start"] else None
    return Record(
        recipe=recipe,
        hours=round(state["seconds"] / 3600 + (before.hours if before else 0), 2),
        machine=f"{platform.machine()} CPU, two threads, shared with other work",
        validation=found if isinstance(found, list) else [found],
        command=f"{command} --out runs/neuralfuse/{folder.name} {options}",
        before=before,
    )


def read_base_network(folder: Path) -> nn.Module:
    """The classifier of a finished run, in evaluation mode."""
    state = _checkpoint(folder)
    network = BASE_NETWORKS[state["recipe"]["network"]]()
    network.load_state_dict(state["module"])
    return network.eval()


def read_fuse(folder: Path) -> Fuse:
    """F of a finished run, in evaluation mode."""
    state = _checkpoint(folder)
    fuse = make_fuse(state["recipe"]["generator"])
    fuse.load_state_dict(state["module"])
    return fuse.eval()


def _checkpoint(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    if state["epoch"] < state["recipe"]["epochs"]:
        raise ValueError(f"{folder} has done {state['epoch']} of {state['recipe']['epochs']} epochs")
    return state
