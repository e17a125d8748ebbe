"""A convolution with a stride as the sum of convolutions without one, each of which reads every s-th position.

Position s m + a of an axis is position m of phase a. Tap u of a kernel with padding p reads, for place j, position
s j + u - p: of phase a it is position j + d with d = (u - p - a) / s, where that is whole. So each tap belongs to one
phase, and to the positions of a phase the convolution is one of stride 1 with some of the taps (the polyphase form,
Vaidyanathan 1993, section 4.3). No position is copied for a second tap and no product is computed for nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from services.uncertainty.explanation.networks.graph import Convolution, Size, Weights


@dataclass(frozen=True, slots=True)
class Phase:
    """What a convolution does to the positions of one phase.

    Attributes:
        offset: the phase, row and column, each below the stride.
        size: height and width of the phase.
        weight: the taps that read it, (outputs, inputs of a group, height, width), in a convolution of stride 1.
        padding: zeros above and left, below and right.
    """

    offset: Size
    size: Size
    weight: Weights
    padding: tuple[int, int, int, int]

    @property
    def reversed_padding(self) -> tuple[int, int, int, int]:
        """Padding of the transposed convolution, as one with the mirrored kernel."""
        rows, columns = self.weight.shape[2:]
        above, left, below, right = self.padding
        return rows - 1 - above, columns - 1 - left, rows - 1 - below, columns - 1 - right


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of one phase: which tap is at each place of the kernel (-1: none), and the padding of both ends."""

    taps: tuple[int, ...]
    before: int
    after: int


def phases(convolution: Convolution, size: Size) -> list[Phase]:
    """Those phases of an input of height and width `size` that a convolution reads; one where the stride is 1."""
    weight, stride, padding_before = convolution.weight, convolution.stride, convolution.sides[:2]
    whole = (-(-size[0] // stride), -(-size[1] // stride))
    axes = [
        [_axis(kernel, padding, phase, stride, extent, behind) for phase in range(stride)]
        for kernel, padding, extent, behind in zip(
            weight.shape[2:], padding_before, whole, convolution.size(size), strict=True
        )
    ]
    found = []
    for row, column in product(range(stride), repeat=2):
        down, across = axes[0][row], axes[1][column]
        if max(down.taps) < 0 or max(across.taps) < 0:
            continue
        padding = (down.before, across.before, down.after, across.after)
        found.append(Phase((row, column), whole, _chosen(weight, down.taps, across.taps), padding))
    return found


def _axis(kernel: int, padding: int, phase: int, stride: int, extent: int, behind: int) -> _Axis:
    """Places d of the kernel from the first, which is at most 0, to where no end needs padding below zero.

    The same holds of the transposed convolution, which matters where more places are behind than the phase has.
    """
    first = min(-((phase + padding) // stride), extent - behind)
    last = max(0, extent - behind, (kernel - 1 - padding - phase) // stride)
    taps = [stride * place + padding + phase for place in range(first, last + 1)]
    known = tuple(tap if 0 <= tap < kernel else -1 for tap in taps)
    return _Axis(known, before=-first, after=behind + last - extent)


def _chosen(weight: Weights, rows: Sequence[int], columns: Sequence[int]) -> Weights:
    """The kernel of some taps; zeros where there is none."""
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1)))
    return np.ascontiguousarray(padded[:, :, rows][:, :, :, columns])
