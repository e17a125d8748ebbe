"""The pictures of an archive: which there are, how large they are, and which one an annotation means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from services.perception.detection.annotations.model import SHOWN, require_few_pictures
from shared.imaging.archive import Archive, clean_name
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.signatures import describe, sniff
from shared.imaging.sizes import upright_sides
from shared.problems import Problem, field_problem

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".heic", ".avif"}
)
"""By which a file counts as a picture; whether it is one that can be read, its content says."""

_HEADER: Final = 64 * 1024
"""Bytes in which the header of most pictures lies; the whole file is inflated for others."""


class PictureFiles:
    """The pictures of an archive.

    Args:
        archive: with pictures in any folders.
        pointer: the field to blame.

    Raises:
        UnprocessableContent: there are none.
        ContentTooLarge: there are more than 20,000.
    """

    def __init__(self, archive: Archive, *, pointer: str) -> None:
        self._archive, self._pointer = archive, pointer
        self.names: Sequence[str] = [name for name in archive.names if _suffix(name) in SUFFIXES]
        if not self.names:
            raise field_problem(pointer, "The archive holds no pictures (PNG, JPEG, WebP).")
        require_few_pictures(len(self.names), place="The archive", pointer=pointer)
        self._known = frozenset(self.names)
        self._by_file_name = _group(self.names, lambda path: path.name)
        self._by_stem = _group(self.names, lambda path: path.stem)

    def sides(self, name: str) -> tuple[int, int]:
        """Width and height of a picture in pixels, upright.

        Raises:
            UnprocessableContent: it is of another type, or its header is damaged.
        """
        start = self._archive.read_start(name, _HEADER)
        if sniff(start) not in PICTURE_TYPES:
            raise field_problem(
                self._pointer, f"The entry {name!r} is no picture (PNG, JPEG, WebP): {describe(start)}."
            )
        found = upright_sides(start) or upright_sides(self._archive.read(name))
        if found is None:
            raise field_problem(self._pointer, f"The header of the picture {name!r} is damaged.")
        return found

    def agreed_sides(self, name: str, stated: tuple[int, int] | None, *, place: str) -> tuple[int, int]:
        """Width and height of a picture, which have to be those that its annotation states, if it states any.

        Args:
            name: of the picture.
            stated: width and height.
            place: that states them.

        Raises:
            UnprocessableContent: they differ.
        """
        sides = self.sides(name)
        if stated is None or stated == sides:
            return sides
        raise self._disagreement(name, sides, stated, place)

    def find(self, stated: str, *, near: str) -> str | None:
        """The picture that an annotation calls by a path, which may begin in another folder than the archive.

        Args:
            stated: path or name in the annotation.
            near: name of the file with the annotation.

        Returns:
            None if there is no such picture.

        Raises:
            UnprocessableContent: several pictures could be meant.
        """
        wanted = clean_name(stated)
        for exact in (clean_name(f"{PurePosixPath(near).parent}/{wanted}"), wanted):
            if exact in self._known:
                return exact
        candidates = self._by_file_name.get(PurePosixPath(wanted).name, ())
        ending = [name for name in candidates if name.endswith(f"/{wanted}")]
        return self._nearest(ending or candidates, near, stated)

    def find_by_stem(self, stem: str, *, near: str, file_name: str | None = None) -> str | None:
        """The picture of a name without its ending; of several the one in the nearest folder.

        Args:
            stem: name without folder and ending.
            near: name of the file with the annotation.
            file_name: that the annotation states, to choose among several.

        Raises:
            UnprocessableContent: several pictures could be meant.
        """
        candidates = self._by_stem.get(stem, ())
        named = [name for name in candidates if PurePosixPath(name).name == file_name]
        return self._nearest(named or candidates, near, stem)

    def _nearest(self, candidates: Sequence[str], near: str, stated: str) -> str | None:
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        shared = [_common_folders(name, near) for name in candidates]
        nearest = [name for name, depth in zip(candidates, shared, strict=True) if depth == max(shared)]
        if len(nearest) > 1:
            raise field_problem(
                self._pointer,
                f"{near} means {stated[:SHOWN]!r}, which may be {nearest[0]!r} or {nearest[1]!r}; state the folder.",
            )
        return nearest[0]

    def _disagreement(self, name: str, sides: tuple[int, int], stated: tuple[int, int], place: str) -> Problem:
        hint = "Send the annotations of this picture, or the picture that was annotated."
        if stated == sides[::-1]:
            hint = (
                "Pictures are turned by their EXIF orientation here, so boxes have to refer to the upright picture: "
                "turn the boxes, or store the picture upright."
            )
        return field_problem(
            self._pointer,
            f"{place} says that {name!r} is {stated[0]} x {stated[1]} pixels; it is {sides[0]} x {sides[1]}. {hint}",
        )


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _group(names: Iterable[str], key: Callable[[PurePosixPath], str]) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[key(PurePosixPath(name))].append(name)
    return groups


def _common_folders(one: str, other: str) -> int:
    """How many folders two paths begin with in common."""
    count = 0
    for first, second in zip(PurePosixPath(one).parts[:-1], PurePosixPath(other).parts[:-1], strict=False):
        if first != second:
            break
        count += 1
    return count
