"""Several pictures of one texture at a time, differentiable in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.security.camouflage.optimisation.rendering.colours import to_srgb
from services.security.camouflage.optimisation.rendering.textures import LevelStack, sample
from services.security.camouflage.rendering.frames import Frame


class FrameBatch:
    """Frames of one size, their fragments in one list; a texture makes pictures of them.

    Args:
        frames: at least one, all of one height and width, their samples planned for a texture of the stack's size.
        levels: of the texture that they will get.
        device: where the texture is.
    """

    def __init__(self, frames: Sequence[Frame], levels: LevelStack, device: torch.device | str = "cpu") -> None:
        height, width = frames[0].base.shape[:2]
        offsets = np.arange(len(frames)) * (height * width)
        pixels = np.concatenate([frame.pixels + offset for frame, offset in zip(frames, offsets, strict=True)])
        painted, places = np.unique(pixels, return_inverse=True)
        self.shape = (len(frames), height, width)
        self._levels = levels
        self._base = torch.from_numpy(np.concatenate([frame.base.reshape(-1, 3) for frame in frames])).to(device)
        self._painted = torch.from_numpy(painted).to(device)
        self._places = torch.from_numpy(places).to(device)
        self._gains = _joined([frame.gains for frame in frames], device)
        self._texels = _joined([frame.samples.texels for frame in frames], device)
        self._weights = _joined([frame.samples.weights for frame in frames], device)

    def render(self, texture: Tensor) -> Tensor:
        """The pictures with a texture.

        Args:
            texture: (3, texture height, texture width), sRGB in [0, 1].

        Returns:
            (frames, 3, height, width) of the texture's dtype, sRGB in [0, 1]; the gradient flows to the texture alone.
        """
        base = self._base.to(texture.dtype)
        colours = self._gains.to(texture.dtype) * sample(self._levels.stack(texture), self._texels, self._weights)
        light = base[self._painted].index_add(0, self._places, colours)
        # Pixels without paint are constant, and most are without.
        pictures = to_srgb(base).index_copy(0, self._painted, to_srgb(light))
        return pictures.reshape(*self.shape, 3).permute(0, 3, 1, 2)


def _joined(parts: Sequence[NDArray[np.generic]], device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(device)
