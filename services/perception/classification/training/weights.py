"""Trained weights on disk: the end of a run as a small half-precision file that is committed."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

from services.perception.classification.training.network import WIDTHS, ResNet18

CHECKPOINT = Path(__file__).parent / "checkpoints" / "traffic-signs.pt"
"""The committed weights that the released model is exported from."""

COMMAND = "python -m services.perception.classification.training"


def keep(run: Path, target: Path = CHECKPOINT) -> dict[str, Any]:
    """Store the weights of a finished run in half precision, with the record of how they came about.

    Args:
        run: folder of the run.
        target: file to write.

    Raises:
        ValueError: the run is not finished.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    recipe = state["recipe"]
    if state["epoch"] < recipe["epochs"]:
        raise ValueError(f"{run} has done {state['epoch']} of {recipe['epochs']} epochs")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in recipe.items())
    record = {
        "recipe": recipe,
        "hours": round(state["seconds"] / 3600, 2),
        "machine": f"{platform.machine()} CPU, one thread, shared with other work",
        "validation_accuracy": log[-1]["validation"],
        "command": f"{COMMAND} train {options}",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: _half(value) for name, value in state["network"].items()}
    torch.save({"weights": weights, "record": record}, target)
    return record


def load(path: Path = CHECKPOINT) -> tuple[ResNet18, dict[str, Any]]:
    """The network of a committed file, in single precision and evaluation mode, and its record."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = ResNet18(width=WIDTHS[state["record"]["recipe"]["width"]])
    network.load_state_dict({name: _single(value) for name, value in state["weights"].items()})
    return network.eval(), state["record"]


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half().contiguous() if value.is_floating_point() else value


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value
