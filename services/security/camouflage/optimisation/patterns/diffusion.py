"""A small diffusion model of textures: the network that predicts noise, its schedule, and decoding in few steps.

Ho, Jain, Abbeel 2020 (DDPM); Song, Meng, Ermon 2020 (DDIM). The network's own output is the velocity of Salimans and Ho
2022, of which noise and clean picture are sums that are well conditioned at every step.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

STEPS: Final = 256
"""Of the noise schedule."""
SIDE: Final = 64
"""Pixels of a side of the pictures it is trained on."""
WIDTHS: Final = (32, 64, 128)
"""Channels at a half, a quarter and an eighth of the side."""
_LAST: Final = 0.97
"""How far along the cosine the schedule goes: the last step keeps 5 % of the picture's amplitude, so that no division
by it blows errors up."""
_GROUPS: Final = 8
_TIME: Final = 128


def make_schedule() -> tuple[Tensor, Tensor]:
    """Amplitudes of picture and of noise at each step, float32 (STEPS,) each; their squares add to 1.

    The cosine schedule of Nichol and Dhariwal 2021 up to `_LAST`.
    """
    angles = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS * _LAST * math.pi / 2
    return torch.cos(angles).float(), torch.sin(angles).float()


class NoisePredictor(nn.Module):
    """eps_theta(x, t): a U-Net on blocks of 2 x 2 pixels, 1.7 million weights with the widths given here.

    Args:
        widths: channels of its levels.
    """

    picture: Tensor
    noise: Tensor

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        picture, noise = make_schedule()
        self.register_buffer("picture", picture, persistent=False)
        self.register_buffer("noise", noise, persistent=False)
        self.time = nn.Sequential(nn.Linear(_TIME, _TIME), nn.SiLU(), nn.Linear(_TIME, _TIME))
        self.first = nn.Conv2d(12, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Residual(width, width) for width in widths)
        pairs = list(pairwise(widths))
        self.smaller = nn.ModuleList(nn.Conv2d(one, two, 3, stride=2, padding=1) for one, two in pairs)
        self.middle = _Residual(widths[-1], widths[-1])
        self.up = nn.ModuleList(_Residual(2 * width, width) for width in widths)
        self.larger = nn.ModuleList(nn.Conv2d(two, one, 3, padding=1) for one, two in pairs)
        self.norm = nn.GroupNorm(_GROUPS, widths[0])
        self.last = nn.Conv2d(widths[0], 12, 3, padding=1)

    def forward(self, pictures: Tensor, steps: Tensor) -> Tensor:
        """The noise in pictures.

        Args:
            pictures: float32 (n, 3, height, width), noisy, clean ones in [-1, 1]; sides are multiples of 8.
            steps: int64 (n,), 0 to STEPS - 1.

        Returns:
            float32 (n, 3, height, width).
        """
        picture, noise = (one[steps].reshape(-1, 1, 1, 1) for one in (self.picture, self.noise))
        found: Tensor = picture * self.velocity(pictures, steps) + noise * pictures
        return found

    def velocity(self, pictures: Tensor, steps: Tensor) -> Tensor:
        """Picture * noise - noise * clean picture, as amplitudes have it; shapes as above."""
        time = self.time(embed_steps(steps).to(pictures.dtype))
        value = self.first(functional.pixel_unshuffle(pictures, 2))
        levels = []
        for index, block in enumerate(self.down):
            value = block(value, time)
            levels.append(value)
            if index < len(self.smaller):
                value = self.smaller[index](value)
        value = self.middle(value, time)
        for index in reversed(range(len(self.up))):
            value = self.up[index](torch.cat((value, levels[index]), dim=1), time)
            if index:
                value = self.larger[index - 1](functional.interpolate(value, scale_factor=2.0, mode="nearest"))
        velocity: Tensor = functional.pixel_shuffle(self.last(functional.silu(self.norm(value))), 2)
        return velocity


class _Residual(nn.Module):
    """Two convolutions beside a way around, shifted by the step."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first_norm, self.first = nn.GroupNorm(_GROUPS, channels), nn.Conv2d(channels, width, 3, padding=1)
        self.shift = nn.Linear(_TIME, width)
        self.second_norm, self.second = nn.GroupNorm(_GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.around = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1)
        nn.init.zeros_(self.second.weight)

    def forward(self, value: Tensor, time: Tensor) -> Tensor:
        inner = self.first(functional.silu(self.first_norm(value))) + self.shift(time)[:, :, None, None]
        sum_of_both: Tensor = self.around(value) + self.second(functional.silu(self.second_norm(inner)))
        return sum_of_both


def embed_steps(steps: Tensor) -> Tensor:
    """Sines and cosines of steps int64 (n,), float32 (n, 128)."""
    rates = torch.exp(torch.arange(_TIME // 2, device=steps.device) * (-math.log(1000.0) / (_TIME // 2)))
    angles = steps.float()[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def make_periodic(network: nn.Module) -> None:
    """Let convolutions go on at the opposite edge, so that a decoded picture can be laid beside itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.padding != (0, 0):
            module.padding_mode = "circular"


def ddim_steps(count: int) -> list[int]:
    """Steps that a decoding of so many evaluations goes through, the noisiest first."""
    return [round(STEPS - 1 - index * (STEPS - 1) / count) for index in range(count)]


def decode(network: NoisePredictor, latents: Tensor, count: int) -> Tensor:
    """Clean pictures by deterministic DDIM (eta 0), differentiable in the latents.

    Each evaluation is computed again on the way back, so that memory is that of one.

    Args:
        network: in evaluation mode.
        latents: float32 (n, 3, height, width), of the noisiest step; standard normal.
        count: evaluations of the network, at least 1.

    Returns:
        float32 (n, 3, height, width), nominally in [-1, 1], not cut.
    """
    value, steps = latents, ddim_steps(count)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        index = torch.full((len(latents),), step, device=latents.device)
        noise: Tensor = checkpoint(network, value, index, use_reentrant=False)
        clean: Tensor = (value - network.noise[step] * noise) / network.picture[step]
        if following is None:
            return clean
        value = network.picture[following] * clean + network.noise[following] * noise
    return value
