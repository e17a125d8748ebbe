"""Textures of an evaluation, and its runs of steps that were cut off, as files of a folder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from services.optimisation.divergence import Diverged
from services.security.camouflage.measurement.measuring import to_bytes
from services.security.camouflage.optimisation.run import CamouflageRun

Floats = NDArray[np.float32]

_SAVED_EVERY: Final = 20
_TRACED_EVERY: Final = 10


@dataclass
class Trace:
    """How a run went.

    Attributes:
        wall_s: seconds on the clock.
        cpu_s: seconds of the processor, which other work on the machine does not lengthen.
        points: means over ten steps each: the last step, its losses by name, and the victim's best score on the car.
        ended: why there are fewer steps than planned, or None.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    points: list[dict[str, float]] = field(default_factory=list)
    ended: str | None = None


class RunFiles:
    """A folder of textures and unfinished runs.

    Args:
        folder: made if there is none.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_texture(self, key: str, texture: Floats) -> None:
        """Store a texture, float32 (side, side, 3), sRGB in [0, 1], as PNG."""
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(to_bytes(texture)).save(self._path(key, "png"))

    def read_texture(self, key: str) -> Floats | None:
        """A texture as it was stored, or None."""
        path = self._path(key, "png")
        if not path.exists():
            return None
        return np.asarray(np.asarray(Image.open(path).convert("RGB"), np.float32) / np.float32(255), np.float32)

    def write(self, key: str, ending: str, content: bytes) -> str:
        """Store a file that belongs to an experiment; returns its name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key, ending)
        path.write_bytes(content)
        return path.name

    def finish(self, key: str, run: CamouflageRun) -> Trace:
        """Make the steps that are left, from where an earlier process was cut off; a run that diverges ends there."""
        path = self._path(key, "pt")
        trace = self._restore(path, run)
        recent: list[dict[str, float]] = []
        try:
            for _ in tqdm(range(run.step_number, run.plan.steps), desc=key, mininterval=30):
                wall_s, cpu_s = time.monotonic(), time.process_time()
                report = run.step()
                trace.wall_s += time.monotonic() - wall_s
                trace.cpu_s += time.process_time() - cpu_s
                recent.append(report.losses | {"score": report.score})
                if run.step_number % _TRACED_EVERY == 0 or run.finished:
                    trace.points.append({"step": run.step_number} | _means(recent))
                    recent = []
                if run.step_number % _SAVED_EVERY == 0:
                    self._save(path, run, trace)
        except Diverged as diverged:
            trace.ended = str(diverged)
        path.unlink(missing_ok=True)
        return trace

    def _restore(self, path: Path, run: CamouflageRun) -> Trace:
        if not path.exists():
            return Trace()
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        run.restore(saved["run"])
        return Trace(**saved["trace"])

    def _save(self, path: Path, run: CamouflageRun, trace: Trace) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        torch.save({"run": run.state(), "trace": asdict(trace)}, beside)
        beside.replace(path)

    def _path(self, key: str, ending: str) -> Path:
        return self.folder / f"{key.replace('/', '-').replace(' ', '-')}.{ending}"


def _means(points: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([one[name] for one in points])), 5) for name in points[0]}
