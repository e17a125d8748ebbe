"""Pictures that are no upright frontal film: drawn kinds, kinds made of films, kinds out of folders."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.medical.chest_xray.training.data.manifest import Film
from services.medical.chest_xray.training.other_pictures import SEEN, UNSEEN, Source, cut_strongly, stretch_half
from shared.settings import get_settings

PIXELS = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1)) * np.linspace(0.2, 1, 64, dtype=np.float32)[:, None]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """One film, brighter below and at the right; some sounds and pictures."""
    images = tmp_path / "chest-xray" / "images"
    images.mkdir(parents=True)
    Image.fromarray((PIXELS * 255).astype(np.uint8)).save(images / "a.jpg", quality=100)
    film = Film("a.jpg", "7", "PA", 0, frozenset(), None, (), (), "test")
    for folder, names in {"speech/wav": (), "blood-cells/images": ("0.jpg", "1.jpg", "2.jpg", "3.jpg")}.items():
        (tmp_path / folder).mkdir(parents=True)
        for shade, name in enumerate(names):
            Image.new("RGB", (20, 10), (60 * shade,) * 3).save(tmp_path / folder / name)
    for number in range(3):
        with wave.open(str(tmp_path / "speech" / "wav" / f"{number}.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes((8000 * np.sin(np.arange(4000) * (number + 1) / 4)).astype(np.int16).tobytes())
    return Source(tmp_path, [film], "test", count=4)


def test_films_are_turned_flipped_and_inverted(source: Source) -> None:
    film = source.read(source.films[0])
    wanted = {
        "films turned by 90 degrees": np.rot90(film),
        "films turned by 180 degrees": film[::-1, ::-1],
        "films turned by 270 degrees": np.rot90(film, 3),
        "films upside down": film[::-1],
        "films of inverted polarity": 1 - film,
    }
    for name, pixels in wanted.items():
        ((owner, found),) = SEEN[name](source)
        assert owner == 7
        assert np.array_equal(found, pixels)


def test_strong_cuts_are_parts_and_halves_are_stretched() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        found = cut_strongly(PIXELS, random)
        assert all(0.19 * side <= size <= 0.46 * side for size, side in zip(found.shape, PIXELS.shape, strict=True))
    halves = {stretch_half(PIXELS, random)[0, 0] > 0.05 for _ in range(20)}
    assert halves == {True, False}
    assert stretch_half(PIXELS, random).shape == PIXELS.shape


@pytest.mark.parametrize("name", ["noise", "blank pictures", "drawn screens", "drawn documents"])
def test_drawn_kinds_differ_from_each_other_and_between_splits(source: Source, name: str) -> None:
    kind = {**SEEN, **UNSEEN}[name]
    found = [pixels for _, pixels in kind(source)]
    assert len(found) == source.count
    assert all(one.dtype == np.float32 and one.ndim == 2 and 0 <= one.min() <= one.max() <= 1 for one in found)
    again = [pixels for _, pixels in kind(source)]
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))
    (_, elsewhere) = next(kind(Source(source.data, (), "train", 1)))
    assert elsewhere.shape != found[0].shape or not np.array_equal(elsewhere, found[0])


def test_sounds_become_pictures_whose_bright_row_is_their_pitch(source: Source) -> None:
    ((_, found),) = UNSEEN["speech spectrograms"](source)
    pitch = 3 / 4 / (2 * np.pi) * 256  # of the third file, which alone is of the test split
    assert found.shape[0] == 129
    assert 128 - found.mean(axis=1).argmax() == pytest.approx(pitch, abs=1)


def test_files_of_a_set_without_splits_are_of_one_split_each(source: Source) -> None:
    found = {}
    for split in ("train", "val", "test"):
        pictures = UNSEEN["blood smears"](Source(source.data, (), split, 10))
        found[split] = [round(float(pixels.mean()) * 255 / 60) for _, pixels in pictures]
    assert found == {"train": [0, 3], "val": [1], "test": [2]}


def test_a_set_that_is_not_there_is_named(source: Source) -> None:
    with pytest.raises(FileNotFoundError, match="garments"):
        next(UNSEEN["garments"](source))


@pytest.mark.data
def test_every_kind_gives_pictures_of_the_real_sets() -> None:
    data = Path(get_settings().data)
    if not (data / "chest-xray").is_dir():
        pytest.skip("the films are not here; FACET_DATA names their folder")
    film = Film("00000061_012.jpg", "61", "AP", 2, frozenset(), True, (), (), "test")
    for name, kind in {**SEEN, **UNSEEN}.items():
        found = list(kind(Source(data, [film], "test", 3)))
        assert found, name
        assert all(0 <= one.min() <= one.max() <= 1 for _, one in found), name
