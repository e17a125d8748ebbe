"""Pictures laid into a detector's bucket, differentiable; `shared.detectors.letterboxing` does it for serving."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from shared.detectors.letterboxing import Buckets, Size


class Letterbox:
    """Scales pictures of one size and lays them into their bucket, at its upper left.

    Served pictures are rounded to whole 255ths after they are scaled, along each axis; these are not, so that both
    differ by 1/255 at most.

    Args:
        size: of the pictures.
        buckets: of the detector.

    Attributes:
        bucket: what the detector sees.
    """

    def __init__(self, size: Size, buckets: Buckets) -> None:
        self._size, self._scaled = size, buckets.scaled(size)
        self.bucket = buckets.choose(self._scaled)
        self._fill = torch.tensor(buckets.fill, dtype=torch.float64)[None, :, None, None] / 255
        factors = [size.width / self._scaled.width, size.height / self._scaled.height]
        self._factors = torch.tensor(factors * 2, dtype=torch.float64)
        self._edges = torch.tensor([size.width, size.height] * 2, dtype=torch.float64)

    def lay(self, pictures: Tensor) -> Tensor:
        """Pictures in their bucket.

        Args:
            pictures: (n, 3, height, width) in [0, 1].

        Returns:
            (n, 3, bucket's height, bucket's width) in [0, 1], channels last, which convolutions are quicker with.

        Raises:
            ValueError: they are of another size.
        """
        size = self._size
        if pictures.ndim != 4 or tuple(pictures.shape[1:]) != (3, size.height, size.width):
            raise ValueError(f"pictures are (n, 3, {size.height}, {size.width}), these are {tuple(pictures.shape)}")
        scaled = self._scaled
        if scaled != size:
            pictures = functional.interpolate(
                pictures, (scaled.height, scaled.width), mode="bilinear", align_corners=False, antialias=True
            )
        shape = (len(pictures), 3, self.bucket.height, self.bucket.width)
        laid = self._fill.to(pictures).expand(shape).contiguous(memory_format=torch.channels_last)
        laid[:, :, : scaled.height, : scaled.width] = pictures
        return laid

    def to_pictures(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) in pixels of the bucket to pixels of the pictures, cut off at their edges."""
        return (boxes * self._factors.to(boxes)).clamp(min=0).minimum(self._edges.to(boxes))
