"""Labelled pictures out of a ZIP: a folder for each class, or a table `labels.csv` beside the pictures."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.imaging.archive import ArchiveLimits, Entry, read_archive
from shared.imaging.pictures import PICTURE_TYPES
from shared.imaging.signatures import describe, sniff
from shared.problems import UnprocessableContent, field_problem

POINTER: Final = "/body/dataset"
TABLE: Final = "labels.csv"

_HEADER: Final = ("file", "label")
_SHOWN: Final = 60
_SAMPLE_SEED: Final = 20_000

LabelsBy = Literal["class names", "class numbers", "sorted folders"]


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Pictures and what is on them.

    Attributes:
        entries: the encoded pictures, with their names in the archive.
        labels: int64 (pictures,), numbers of their classes.
        labels_by: how labels were read.
        posted: pictures of the archive, of which these are all or some.
    """

    entries: Sequence[Entry]
    labels: NDArray[np.int64]
    labels_by: LabelsBy
    posted: int

    def sample(self, count: int | None) -> LabelledPictures:
        """At most `count` of them, drawn by a fixed seed and kept in order; all if None."""
        if count is None or count >= len(self.entries):
            return self
        drawn = np.random.default_rng(_SAMPLE_SEED).choice(len(self.entries), count, replace=False)
        chosen = sorted(drawn.tolist())
        entries = [self.entries[index] for index in chosen]
        return LabelledPictures(entries, self.labels[chosen], self.labels_by, self.posted)

    def without_content(self) -> LabelledPictures:
        """The same without the encoded pictures, which take memory."""
        return LabelledPictures((), self.labels, self.labels_by, self.posted)


def read_labelled_pictures(
    data: bytes, *, classes: int, names: Sequence[str] | None, pictures_limit: int
) -> LabelledPictures:
    """Read an archive, without decoding its pictures.

    Args:
        data: ZIP.
        classes: that the classifier tells apart.
        names: of them, if they have some.
        pictures_limit: most pictures.

    Raises:
        UnsupportedMediaType: not a ZIP file.
        ContentTooLarge: it inflates to too much.
        UnprocessableContent: it is damaged, holds something else, or a label is missing or none of the classes; says
            of which file or row.
    """
    entries = read_archive(data, ArchiveLimits(entries=pictures_limit + 1), pointer=POINTER)
    tables = [entry for entry in entries if PurePosixPath(entry.name).name.lower() == TABLE]
    if len(tables) > 1:
        raise field_problem(POINTER, f"The archive holds {TABLE} twice: {tables[0].name!r} and {tables[1].name!r}.")
    pictures = [entry for entry in entries if entry not in tables]
    for entry in pictures:
        if sniff(entry.data) not in PICTURE_TYPES:
            raise field_problem(
                POINTER, f"The entry {entry.name!r} is no picture (PNG, JPEG, WebP): {describe(entry.data)}."
            )
    if not pictures:
        raise field_problem(POINTER, "The archive holds no pictures.")
    texts, places = _read_table(tables[0], pictures) if tables else _read_folders(pictures)
    labels, labels_by = _find_classes(texts, places, classes=classes, names=names, by_folder=not tables)
    return LabelledPictures(pictures, labels, labels_by, len(pictures))


def _read_folders(pictures: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Labels of the pictures, and where each is stated."""
    for entry in pictures:
        if "/" not in entry.name:
            raise field_problem(
                POINTER,
                f"The picture {entry.name!r} has no label: put it into a folder named after its class (stop/1.png), or "
                f"add a {TABLE} with the columns file,label.",
            )
    return [entry.name.split("/")[-2] for entry in pictures], [f"the folder of {entry.name!r}" for entry in pictures]


def _read_table(table: Entry, pictures: Sequence[Entry]) -> tuple[list[str], list[str]]:
    folder = table.name[: -len(TABLE)]
    stated = {f"{folder}{name}": (label, place) for name, label, place in _rows(table)}
    known = {entry.name for entry in pictures}
    for name, (_, place) in stated.items():
        if name not in known:
            hint = _alike(name, known)
            raise field_problem(POINTER, f"{place} names {name[:_SHOWN]!r}, which the archive does not hold.{hint}")
    for entry in pictures:
        if entry.name not in stated:
            raise field_problem(POINTER, f"{table.name} has no row for the picture {entry.name!r}.")
    return [stated[entry.name][0] for entry in pictures], [stated[entry.name][1] for entry in pictures]


def _rows(table: Entry) -> list[tuple[str, str, str]]:
    """File, label and place of each row."""
    try:
        text = table.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise field_problem(POINTER, f"{table.name} is not UTF-8 text.") from None
    rows: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    try:
        read = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise field_problem(POINTER, f"{table.name} cannot be read as CSV: {error}.") from None
    for number, cells in enumerate(read, 1):
        place = f"Row {number} of {table.name}"
        cells = [cell.strip() for cell in cells]
        if not any(cells) or (number == 1 and tuple(cell.lower() for cell in cells) == _HEADER):
            continue
        if len(cells) != len(_HEADER) or not all(cells):
            raise field_problem(POINTER, f"{place} is not of the form file,label.")
        name = "/".join(part for part in cells[0].replace("\\", "/").split("/") if part not in {"", "."})
        if name in seen:
            raise field_problem(POINTER, f"{place} names {name[:_SHOWN]!r} a second time.")
        seen.add(name)
        rows.append((name, cells[1], place))
    return rows


def _find_classes(
    texts: Sequence[str], places: Sequence[str], *, classes: int, names: Sequence[str] | None, by_folder: bool
) -> tuple[NDArray[np.int64], LabelsBy]:
    numbers = {name: index for index, name in enumerate(names or ())}
    if names is not None and all(text in numbers for text in texts):
        return np.array([numbers[text] for text in texts], np.int64), "class names"
    if all(_is_number(text) for text in texts):
        return _checked_numbers(texts, places, classes), "class numbers"
    if names is None and by_folder:
        return _by_sorted_folders(texts, classes), "sorted folders"
    raise _no_class(texts, places, numbers, classes)


def _checked_numbers(texts: Sequence[str], places: Sequence[str], classes: int) -> NDArray[np.int64]:
    labels = np.array([int(text) for text in texts], np.int64)
    if (beyond := np.flatnonzero(labels >= classes)).size:
        first = int(beyond[0])
        detail = f"says class {texts[first]}, and the classifier's {classes} classes are 0 to {classes - 1}."
        raise field_problem(POINTER, f"{_sentence(places[first])} {detail}")
    return labels


def _by_sorted_folders(texts: Sequence[str], classes: int) -> NDArray[np.int64]:
    """As torchvision's ImageFolder counts classes, where nobody says how they are called."""
    folders = sorted(set(texts))
    if len(folders) != classes:
        raise field_problem(
            POINTER,
            f"The archive has {len(folders)} folders with names, the classifier {classes} classes without: name "
            "folders by class numbers from 0, or state `classes` in `parameters`.",
        )
    order = {name: index for index, name in enumerate(folders)}
    return np.array([order[text] for text in texts], np.int64)


def _no_class(
    texts: Sequence[str], places: Sequence[str], numbers: Mapping[str, int], classes: int
) -> UnprocessableContent:
    # Where some labels are names, a number is wrong too, but the name that nobody knows is the better one to show.
    unknown = [index for index, text in enumerate(texts) if text not in numbers]
    index = next((one for one in unknown if not _is_number(texts[one])), unknown[0])
    hint = _alike(texts[index], numbers) or f" Give numbers from 0 to {classes - 1}" + (
        ", or the names of the classes." if numbers else "."
    )
    return field_problem(
        POINTER, f"{_sentence(places[index])} says {texts[index][:_SHOWN]!r}, which is no class.{hint}"
    )


def _alike(text: str, known: Mapping[str, int] | set[str]) -> str:
    found = difflib.get_close_matches(text, sorted(known), n=1)
    return f" Is {found[0][:_SHOWN]!r} meant?" if found else ""


def _sentence(place: str) -> str:
    return place[0].upper() + place[1:]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
