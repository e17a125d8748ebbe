"""What a step's time goes into, and how much memory a run has taken."""

from __future__ import annotations

import cProfile
import platform
import pstats
import resource
import time
from typing import Any, Final

import torch

from services.security.camouflage.optimisation.run import CamouflageRun

_PARTS: Final = {
    "frames": ("optimisation/scenes.py", "draw"),
    "render": ("optimisation/rendering/renderer.py", "render"),
    "camera": ("optimisation/sensors.py", "take_pictures"),
    "victim": ("optimisation/victims.py", "see"),
    "backward": ("torch/_tensor.py", "backward"),
    "optimiser": ("torch/optim/adam.py", "step"),
}
"""Functions by the end of their file's path and their name: none of them is part of another."""


def profile_steps(run: CamouflageRun, *, steps: int, warm_up: int) -> dict[str, Any]:
    """Seconds of a step by part, by the processor's clock, which other work on the machine does not advance.

    Args:
        run: that is stepped.
        steps: that are looked at.
        warm_up: made before, which draw the first scenes.
    """
    for _ in range(warm_up):
        run.step()
    profile = cProfile.Profile(time.process_time)
    began_s = time.monotonic()
    with profile:
        for _ in range(steps):
            run.step()
    wall_s = time.monotonic() - began_s
    found = _seconds(pstats.Stats(profile))
    whole = found.pop("step") / steps
    parts = {name: round(seconds / steps, 4) for name, seconds in found.items()}
    return {
        "step_s": round(whole, 4),
        "parts_s": parts | {"rest": round(whole - sum(parts.values()), 4)},
        "wall_s": round(wall_s / steps, 4),
        "steps": steps,
        "threads": torch.get_num_threads(),
        "peak_mib": peak_memory_mib(),
    }


def peak_memory_mib() -> float:
    """The most memory that this process has had so far."""
    unit = 1024 if platform.system() == "Linux" else 1
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _seconds(stats: pstats.Stats) -> dict[str, float]:
    wanted = _PARTS | {"step": ("optimisation/run.py", "step")}
    found = dict.fromkeys(wanted, 0.0)
    table: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    for (file, _, function), (_, _, _, cumulative, _) in table.items():
        for name, (ending, called) in wanted.items():
            if file.replace("\\", "/").endswith(ending) and function == called:
                found[name] += cumulative
    return found
