"""What somebody may post that is no upright frontal chest film of usual polarity, by kind.

Some kinds are made of films, others are pictures of something else, others are drawn. Kinds of `UNSEEN` are never
trained on: how often these are accepted says what to expect of what nobody has thought of. No lateral chest film is at
hand; half films, stretched, stand in for them and are called so.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.signal import spectrogram

from services.medical.chest_xray.training.data.manifest import FOLDER, Film
from services.medical.chest_xray.training.data.preparation import read_picture
from shared.datasets import captioned_photos, photos, traffic_signs
from shared.imaging.dicom import read_ct

Pixels = NDArray[np.float32]
Split = Literal["train", "val", "test"]

_PIXEL_LIMIT: Final = 10**8
_WINDOWS: Final = ((-600.0, 1500.0), (40.0, 400.0))
"""Centre and width in HU: lung, mediastinum."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where pictures come from.

    Attributes:
        data: folder of all data sets.
        films: of one split.
        split: its name.
        count: most pictures of a kind that is not made of films.
        seed: of everything that is drawn.
    """

    data: Path
    films: Sequence[Film]
    split: Split
    count: int
    seed: int = 0

    def read(self, film: Film) -> Pixels:
        """A film as it is, float32 (h, w) in [0, 1]."""
        return read_picture(self.data / FOLDER / "images" / film.file)

    def pick(self, files: Sequence[Path]) -> list[Path]:
        """As many of the files as wanted, evenly spread by name."""
        ordered = sorted(files)
        chosen = np.linspace(0, len(ordered) - 1, min(self.count, len(ordered))).round().astype(int)
        return [ordered[one] for one in chosen]

    def thirds(self, files: Sequence[Path]) -> list[Path]:
        """Files of a set without a split of its own: each third, by name, is of one split."""
        place = ("train", "val", "test").index(self.split)
        return sorted(files)[place::3]


Kind = Callable[[Source], Iterator[tuple[int, Pixels]]]
"""Pictures float32 (h, w) in [0, 1] of any size, each with the number of what it belongs to: a patient, or a file."""


def _of_films(change: Callable[[Pixels, np.random.Generator], Pixels]) -> Kind:
    def make(source: Source) -> Iterator[tuple[int, Pixels]]:
        random = np.random.default_rng(source.seed)
        for film in source.films:
            yield int(film.patient), change(source.read(film), random)

    return make


def cut_strongly(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A part of 20 to 45 % of each side, anywhere."""
    sizes = [max(1, round(side * random.uniform(0.2, 0.45))) for side in pixels.shape]
    top, left = (int(random.integers(side - size + 1)) for side, size in zip(pixels.shape, sizes, strict=True))
    return pixels[top : top + sizes[0], left : left + sizes[1]]


def stretch_half(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """One half of the film, twice as wide: the spine at an edge, as on no frontal film."""
    middle = pixels.shape[1] // 2
    half = pixels[:, :middle] if random.random() < 0.5 else pixels[:, middle:]
    return np.repeat(half, 2, axis=1)


def _grey(image: Image.Image) -> Pixels:
    found: Pixels = np.asarray(image.convert("L"), np.float32) / np.float32(255)
    return found


def _of_files(list_files: Callable[[Source], Sequence[Path]]) -> Kind:
    def make(source: Source) -> Iterator[tuple[int, Pixels]]:
        for number, file in enumerate(source.pick(list_files(source))):
            with Image.open(file, formats=["JPEG", "PNG", "WEBP"]) as image:
                yield number, _grey(image)

    return make


def _flickr(source: Source) -> Sequence[Path]:
    return captioned_photos.read_captioned_photos(source.data / captioned_photos.FOLDER)[source.split].files


def _all_below(folder: str, pattern: str) -> Callable[[Source], Sequence[Path]]:
    def listed(source: Source) -> Sequence[Path]:
        files = source.thirds([*(source.data / folder).glob(pattern)])
        if not files:
            raise FileNotFoundError(f"no {pattern} in {source.data / folder}")
        return files

    return listed


def _signs(source: Source) -> Iterator[tuple[int, Pixels]]:
    pictures = traffic_signs.read_test(source.data / traffic_signs.FOLDER).pictures
    chosen = np.linspace(0, len(pictures) - 1, min(source.count, len(pictures))).round().astype(int)
    for number in chosen[("train", "val", "test").index(source.split) :: 3]:
        yield int(number), pictures[number].mean(axis=-1, dtype=np.float32) / 255


def _ct_slices(source: Source) -> Iterator[tuple[int, Pixels]]:
    import csv

    with (source.data / "ct" / "manifest.csv").open(encoding="utf-8", newline="") as content:
        rows = [row for row in csv.DictReader(content) if row["split"] == source.split]
    for number, row in enumerate(rows):
        content_of = (source.data / "ct" / "slices" / row["file"]).read_bytes()
        hu = read_ct(content_of, limit_pixels=_PIXEL_LIMIT).hu
        for centre, width in _WINDOWS:
            yield number, np.clip((hu - centre) / width + 0.5, 0, 1).astype(np.float32)


def _noise(source: Source) -> Iterator[tuple[int, Pixels]]:
    """White, and of falling spectra."""
    random = np.random.default_rng([source.seed, len(source.split)])
    for number in range(min(source.count, 150)):
        shape = tuple(int(side) for side in random.integers(128, 640, 2))
        rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
        frequency = np.maximum(np.hypot(rows, columns), 1 / max(shape))
        spectrum = np.fft.rfft2(random.standard_normal(shape)) / frequency ** random.choice([0.0, 1.0, 2.0])
        field = np.fft.irfft2(spectrum, s=shape)
        yield number, ((field - field.min()) / np.ptp(field)).astype(np.float32)


def _blank(source: Source) -> Iterator[tuple[int, Pixels]]:
    """One grey, a ramp, or a disc of light."""
    random = np.random.default_rng([source.seed, len(source.split)])
    for number in range(min(source.count, 100)):
        height, width = (int(side) for side in random.integers(128, 640, 2))
        rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        angle, level = random.uniform(0, 2 * np.pi), random.uniform(0, 1)
        field = (
            np.full((height, width), level),
            0.5 + 0.5 * (rows * np.sin(angle) + columns * np.cos(angle)) / np.sqrt(2),
            np.exp(-(rows**2 + columns**2) / random.uniform(0.1, 1)),
        )[number % 3]
        yield number, field.astype(np.float32)


def _screens(source: Source) -> Iterator[tuple[int, Pixels]]:
    """Windows with bars, boxes and short texts, as of a program."""
    random = np.random.default_rng([source.seed, len(source.split)])
    for number in range(min(source.count, 200)):
        width, height = (int(side) for side in random.integers(320, 960, 2))
        dark = random.random() < 0.4
        image = Image.new("L", (width, height), int(random.integers(0, 60) if dark else random.integers(200, 256)))
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, width, height // 14), fill=int(random.integers(60, 180)))
        for _ in range(int(random.integers(4, 20))):
            left, top = int(random.integers(0, width)), int(random.integers(height // 14, height))
            right, bottom = left + int(random.integers(20, width // 2)), top + int(random.integers(10, height // 3))
            pen.rectangle((left, top, right, bottom), fill=int(random.integers(0, 256)), outline=128)
            font = ImageFont.load_default(size=int(random.integers(10, 28)))
            pen.text((left + 4, top + 2), _words(random, 3), fill=int(random.integers(0, 256)), font=font)
        yield number, _grey(image)


def _documents(source: Source) -> Iterator[tuple[int, Pixels]]:
    """Pages of text, dark on light."""
    random = np.random.default_rng([source.seed, 7, len(source.split)])
    for number in range(min(source.count, 150)):
        width, height = 600, int(random.integers(700, 900))
        image = Image.new("L", (width, height), int(random.integers(215, 256)))
        pen, size = ImageDraw.Draw(image), int(random.integers(11, 22))
        font = ImageFont.load_default(size=size)
        for top in range(40, height - 40, round(1.5 * size)):
            if random.random() < 0.85:
                pen.text((50, top), _words(random, 10)[: 900 // size], fill=20, font=font)
        yield number, _grey(image)


def _words(random: np.random.Generator, count: int) -> str:
    letters = np.array([*"abcdefghijklmnopqrstuvwxyz"])
    return " ".join("".join(random.choice(letters, int(random.integers(2, 10)))) for _ in range(count))


def _spectrograms(source: Source) -> Iterator[tuple[int, Pixels]]:
    files = _all_below("speech/wav", "*.wav")(source)
    for number, file in enumerate(source.pick(files)):
        with wave.open(str(file)) as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
            rate = sound.getframerate()
        power = np.log(spectrogram(samples.astype(np.float64), rate, nperseg=256, noverlap=224)[2] + 1e-3)[::-1]
        yield number, ((power - power.min()) / np.ptp(power)).astype(np.float32)


SEEN: Final[dict[str, Kind]] = {
    "films turned by 90 degrees": _of_films(lambda pixels, _: np.rot90(pixels)),
    "films turned by 180 degrees": _of_films(lambda pixels, _: np.rot90(pixels, 2)),
    "films turned by 270 degrees": _of_films(lambda pixels, _: np.rot90(pixels, 3)),
    "films upside down": _of_films(lambda pixels, _: pixels[::-1]),
    "films of inverted polarity": _of_films(lambda pixels, _: 1 - pixels),
    "strong cuts of films": _of_films(cut_strongly),
    "photographs (Flickr8k)": _of_files(_flickr),
    "CT slices": _ct_slices,
    "noise": _noise,
    "blank pictures": _blank,
    "drawn screens": _screens,
}
"""Kinds that screening is trained on, in the training split."""

UNSEEN: Final[dict[str, Kind]] = {
    "half films, stretched (lateral-like)": _of_films(stretch_half),
    "photographs (BSDS500)": _of_files(lambda source: source.thirds(photos.photographs(source.data))),
    "garments": _of_files(_all_below("garments", "*/*/*.*")),
    "traffic signs": _signs,
    "blood smears": _of_files(_all_below("blood-cells/images", "*.*")),
    "street scenes (rendered)": _of_files(_all_below("carla/images", "*.*")),
    "speech spectrograms": _spectrograms,
    "drawn documents": _documents,
}
"""Kinds that are only measured."""
