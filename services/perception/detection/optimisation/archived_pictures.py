"""Pictures of posted archives, decoded when a step asks for them: archives may hold more than memory does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from services.perception.detection.adaptation_data import LabelledSet
from services.perception.detection.annotations.importing import LIMITS
from services.perception.detection.annotations.model import AnnotatedPicture, AnnotatedSet
from services.perception.detection.annotations.picture_files import PictureFiles
from services.perception.detection.optimisation.instances import Targets
from shared.imaging.archive import Archive
from shared.imaging.colour import read_rgb

_KEPT_BYTES: Final = 256 * 1024**2
"""Of decoded pictures, for each archive."""

Pixels = NDArray[np.uint8]


class ArchivedPictures(Sequence[Pixels]):
    """Pictures uint8 (height, width, 3), RGB, upright, whose short side is at most as long as asked for.

    Args:
        read: gives the encoded picture of a name.
        names: of the pictures.
        short_side: in pixels; smaller pictures stay as they are.
        pixel_limit: most pixels of an encoded picture.
        pointer: the field to blame.
    """

    def __init__(
        self, read: Callable[[str], bytes], names: Sequence[str], *, short_side: int, pixel_limit: int, pointer: str
    ) -> None:
        self._read, self.names = read, names
        self._short_side, self._pixel_limit, self._pointer = short_side, pixel_limit, pointer
        self._kept: OrderedDict[int, Pixels] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Pixels]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Pixels: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pixels]: ...

    def __getitem__(self, index: int | slice) -> Pixels | Sequence[Pixels]:
        """Decode a picture, or take it from the last ones.

        Raises:
            UnprocessableContent: it is damaged; the problem names it.
        """
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        found = self._decode(self.names[index])
        self._kept[index] = found
        self._bytes += found.nbytes
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return found

    def of_names(self, names: Sequence[str]) -> ArchivedPictures:
        """Some of them."""
        return ArchivedPictures(
            self._read, names, short_side=self._short_side, pixel_limit=self._pixel_limit, pointer=self._pointer
        )

    def _decode(self, name: str) -> Pixels:
        pointer = f"{self._pointer}/{name}"
        picture = read_rgb(self._read(name), pixel_limit=self._pixel_limit, pointer=pointer)
        height, width = scaled_sides(*picture.shape[:2], short_side=self._short_side)
        if (height, width) == picture.shape[:2]:
            return picture
        image = Image.fromarray(np.ascontiguousarray(picture))
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)


def scaled_sides(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """Height and width of a picture after it was scaled down to a short side, if it was larger."""
    factor = min(1.0, short_side / min(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(frozen=True, slots=True)
class LabelledArchive:
    """A part of an annotated archive.

    Attributes:
        images: its pictures.
        targets: of each, boxes in pixels of the scaled picture; crowds are left out.
        annotated: the same annotations in pixels of the posted pictures.
    """

    images: ArchivedPictures
    targets: Sequence[Targets]
    annotated: AnnotatedSet

    def __len__(self) -> int:
        return len(self.images)

    def part(self, names: Sequence[str]) -> LabelledArchive:
        """The pictures of some names."""
        wanted = set(names)
        places = [place for place, name in enumerate(self.images.names) if name in wanted]
        chosen = [self.images.names[place] for place in places]
        return LabelledArchive(
            self.images.of_names(chosen),
            [self.targets[place] for place in places],
            replace(self.annotated, pictures={name: self.annotated.pictures[name] for name in chosen}),
        )


def open_labelled(labelled: LabelledSet, *, short_side: int, pixel_limit: int) -> LabelledArchive:
    """The pictures of an annotated archive, and their objects.

    Args:
        labelled: the archive.
        short_side: as `ArchivedPictures`.
        pixel_limit: as `ArchivedPictures`.
    """
    annotated, names = labelled.annotated, sorted(labelled.annotated.pictures)
    images = ArchivedPictures(
        labelled.imported.read, names, short_side=short_side, pixel_limit=pixel_limit, pointer=labelled.pointer
    )
    return LabelledArchive(images, [_targets(annotated.pictures[name], short_side) for name in names], annotated)


def open_unlabelled(data: bytes, *, short_side: int, pixel_limit: int, pointer: str) -> ArchivedPictures:
    """The pictures of a ZIP; annotations in it are not looked at.

    Raises:
        UnsupportedMediaType: not a ZIP file.
        UnprocessableContent: there are no pictures.
    """
    archive = Archive(data, LIMITS, pointer=pointer)
    names = sorted(PictureFiles(archive, pointer=pointer).names)
    return ArchivedPictures(archive.read, names, short_side=short_side, pixel_limit=pixel_limit, pointer=pointer)


def _targets(picture: AnnotatedPicture, short_side: int) -> Targets:
    height, width = scaled_sides(picture.height, picture.width, short_side=short_side)
    factors = np.array([width / picture.width, height / picture.height] * 2)
    single = ~picture.crowd
    boxes = torch.from_numpy((picture.boxes[single] * factors).astype(np.float32).reshape(-1, 4))
    return Targets(boxes, torch.from_numpy(picture.labels[single]))
