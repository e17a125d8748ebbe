"""Features of photographs by a published backbone, computed once and kept in half precision on disk.

Two maps of each photograph at 224 pixels, and of its mirror image: after the fifth stage (stride 16, 14x14) and after
the seventh (stride 32, 7x7).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from services.optimisation.efficientnet_lite import LITE2, STAGES, EfficientNetLite, Stage
from services.training.packages import WEIGHTS, WEIGHTS_LITE2, PinnedFile, published_weights
from shared.imaging.preprocessing import Preprocessing

SIDE: Final = 224
CUT: Final = 5
"""Stages before the first map."""

VIEWS: Final = 2
"""As it is, and mirrored."""

PREPROCESSING: Final = Preprocessing(region="whole", filter="bicubic")
"""The data's photographs are squares already, whatever their shape was."""

_BATCH: Final = 16
_PIXELS: Final = 10**8


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network of the family.

    Attributes:
        stages: its shape.
        weights: published ones; None for random ones, the ablation.
    """

    stages: tuple[Stage, ...]
    weights: PinnedFile | None


BACKBONES: Final = {
    "lite0": Backbone(STAGES, WEIGHTS),
    "lite2": Backbone(LITE2, WEIGHTS_LITE2),
    "lite0-random": Backbone(STAGES, None),
}


def map_channels(name: str) -> tuple[int, int]:
    """Channels of both maps of a backbone."""
    stages = BACKBONES[name].stages
    return stages[CUT - 1].outputs, stages[-1].outputs


def make_backbone(name: str, calibration: Tensor | None = None) -> EfficientNetLite:
    """A backbone in evaluation mode.

    Args:
        name: in `BACKBONES`.
        calibration: pictures that batch normalisation of a random network is measured on, without which its features
            vanish; published weights need none.
    """
    backbone = BACKBONES[name]
    torch.manual_seed(0)
    network = EfficientNetLite(backbone.stages)
    if backbone.weights is not None:
        network.load_state_dict(published_weights(backbone.weights))
    elif calibration is not None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        with torch.no_grad():
            network.train()(calibration)
    return network.eval()


def read_picture(file: Path, side: int = SIDE) -> NDArray[np.float32]:
    """A photograph scaled to a square whatever its shape, float32 (3, side, side) in [0, 1]."""
    return PREPROCESSING.read(file.read_bytes(), height=side, width=side, pixel_limit=_PIXELS, pointer=file.name)


@dataclass(frozen=True, slots=True)
class Features:
    """Maps of photographs.

    Attributes:
        fine: float16 (photographs, views, channels, 14, 14).
        coarse: float16 (photographs, views, channels, 7, 7).
    """

    fine: NDArray[np.float16]
    coarse: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.fine)

    def take(self, photographs: NDArray[np.int64], views: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Both maps of some photographs, float32 (count, channels, side, side)."""
        fine, coarse = self.fine[photographs, views], self.coarse[photographs, views]
        return torch.from_numpy(fine.astype(np.float32)), torch.from_numpy(coarse.astype(np.float32))


@torch.no_grad()
def cache_features(files: Sequence[Path], backbone: EfficientNetLite, folder: Path, *, side: int = SIDE) -> Features:
    """Compute what the folder does not have yet; a run that was cut off goes on where it was.

    Args:
        files: photographs.
        backbone: in evaluation mode.
        folder: of these photographs and this backbone alone.
        side: that photographs are scaled to.

    Raises:
        ValueError: the folder has the features of other photographs.
    """
    trunk, tail = backbone.split(CUT)
    fine = trunk(torch.zeros(1, 3, side, side))
    shapes = {"fine": fine.shape[1:], "coarse": tail(fine).shape[1:]}
    maps = {name: _open(folder / f"{name}.npy", (len(files), VIEWS, *shape)) for name, shape in shapes.items()}
    done = _progress(folder, files)
    for start in tqdm(range(done, len(files), _BATCH), desc=f"features in {folder}", disable=done >= len(files)):
        chosen = slice(start, min(start + _BATCH, len(files)))
        pictures = torch.from_numpy(np.stack([read_picture(file, side) for file in files[chosen]]))
        for view, seen in enumerate((pictures, pictures.flip(3))):
            fine = trunk(seen)
            maps["fine"][chosen, view] = fine.numpy()
            maps["coarse"][chosen, view] = tail(fine).numpy()
        for one in maps.values():
            one.flush()
        _note(folder, files, chosen.stop)
    return Features(maps["fine"], maps["coarse"])


def _open(file: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = "r+" if file.exists() else "w+"
    opened = np.lib.format.open_memmap(file, mode=mode, dtype=np.float16, shape=shape)
    if opened.shape != shape:
        raise ValueError(f"{file} has shape {opened.shape}, expected {shape}: it belongs to other photographs")
    return opened


def _progress(folder: Path, files: Sequence[Path]) -> int:
    path = folder / "progress.json"
    if not path.exists():
        return 0
    known = json.loads(path.read_text(encoding="utf-8"))
    if known["files"] != [file.name for file in files]:
        raise ValueError(f"{folder} has the features of other photographs")
    return int(known["done"])


def _note(folder: Path, files: Sequence[Path], done: int) -> None:
    unfinished = folder / "progress.part"
    unfinished.write_text(json.dumps({"done": done, "files": [file.name for file in files]}), encoding="utf-8")
    unfinished.replace(folder / "progress.json")
