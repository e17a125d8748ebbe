"""Labelled archives that a released detector is hardened with, as it sees pictures when it is served.

The security service writes them: simulated cars under generated and under random textures (`hardening-set.zip`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from services.perception.detection.annotations.importing import import_pictures
from services.perception.detection.annotations.model import AnnotatedPicture
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.training.data import DetectionSet
from shared.detectors.letterboxing import Buckets, Letterboxed, letterbox
from shared.imaging.colour import read_rgb


@dataclass(frozen=True, slots=True)
class HardeningSet:
    """A labelled archive.

    Attributes:
        file: its name.
        sha256: of it.
        data: its pictures, scaled as the detector sees them; their domain is the name of the file.
    """

    file: str
    sha256: str
    data: DetectionSet


def read_hardening_set(path: Path, classes: Sequence[str], buckets: Buckets, *, pixel_limit: int) -> HardeningSet:
    """Read an archive and decode all of its pictures; boxes of crowds are left out.

    Args:
        path: ZIP with annotations of any format that evaluations take.
        classes: of the detector, by label.
        buckets: sizes that it sees pictures in.
        pixel_limit: most pixels of an encoded picture.

    Raises:
        FileNotFoundError: there is no such file.
        Problem: it is no annotated archive, or shows classes that the detector does not know; the problem names it.
    """
    content = path.read_bytes()
    imported = import_pictures(content, pointer=path.name)
    annotated = imported.annotated.with_classes(classes, pointer=path.name)
    data = DetectionSet(tuple(classes), [], [], [], [])
    for name, picture in sorted(annotated.pictures.items()):
        pixels = read_rgb(imported.read(name), pixel_limit=pixel_limit, pointer=f"{path.name}/{name}")
        seen = letterbox(pixels, buckets)
        data.images.append(_without_fill(seen))
        data.targets.append(_targets(picture, seen))
        data.domains.append(path.name)
        data.scales.append(seen.scaled.width / seen.posted.width)
    return HardeningSet(path.name, hashlib.sha256(content).hexdigest(), data)


def join_sets(sets: Collection[DetectionSet]) -> DetectionSet:
    """All pictures of some sets of the same classes, of which there is one at least."""
    return DetectionSet(
        next(iter(sets)).classes,
        [image for one in sets for image in one.images],
        [targets for one in sets for targets in one.targets],
        [domain for one in sets for domain in one.domains],
        [scale for one in sets for scale in one.scales],
    )


def _without_fill(seen: Letterboxed) -> NDArray[np.uint8]:
    """The scaled picture: views of training add the grey around it, after they have mirrored it."""
    return np.ascontiguousarray(seen.pixels[: seen.scaled.height, : seen.scaled.width])


def _targets(picture: AnnotatedPicture, seen: Letterboxed) -> Targets:
    single = ~picture.crowd
    boxes = seen.to_bucket(picture.boxes[single].astype(np.float32).reshape(-1, 4))
    return Targets(torch.from_numpy(boxes), torch.from_numpy(picture.labels[single]))
