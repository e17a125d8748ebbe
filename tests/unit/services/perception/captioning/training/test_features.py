"""Cached features: the backbone's, of photographs and their mirror images, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.training import features
from services.perception.captioning.training.features import CUT, cache_features, read_picture
from shared.datasets.captioned_photos import CaptionedPhotos, read_captioned_photos
from tests.support.captioners import SIDE


@torch.no_grad()
def test_features_are_the_backbones(
    squares: dict[str, CaptionedPhotos], backbone: EfficientNetLite, tmp_path: Path
) -> None:
    files = squares["test"].files
    found = cache_features(files, backbone, tmp_path, side=SIDE)
    trunk, tail = backbone.split(CUT)
    picture = torch.from_numpy(read_picture(files[2], SIDE))[None]
    for view, seen in enumerate((picture, picture.flip(3))):
        fine, coarse = found.take(np.array([2]), np.array([view]))
        torch.testing.assert_close(fine, trunk(seen), atol=1e-2, rtol=1e-2)
        torch.testing.assert_close(coarse, tail(trunk(seen)), atol=1e-2, rtol=1e-2)
    assert found.fine.dtype == found.coarse.dtype == np.float16
    assert float(np.abs(found.coarse[:, 0] - found.coarse[:, 0].mean(axis=0)).max()) > 0.1


def test_a_run_that_was_cut_off_goes_on(
    squares: dict[str, CaptionedPhotos],
    backbone: EfficientNetLite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = squares["val"].files[:8]
    monkeypatch.setattr(features, "_BATCH", 3)
    read: list[Path] = []

    def read_and_note(file: Path, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        if len(read) == 5:
            read.append(file)
            raise KeyboardInterrupt
        read.append(file)
        return read_picture(file, side)

    monkeypatch.setattr(features, "read_picture", read_and_note)
    with pytest.raises(KeyboardInterrupt):
        cache_features(files, backbone, tmp_path / "cut", side=SIDE)
    found = cache_features(files, backbone, tmp_path / "cut", side=SIDE)
    assert read[6:] == files[3:]
    whole = cache_features(files, backbone, tmp_path / "whole", side=SIDE)
    np.testing.assert_array_equal(found.fine, whole.fine)
    np.testing.assert_array_equal(found.coarse, whole.coarse)
    count = len(read)
    cache_features(files, backbone, tmp_path / "whole", side=SIDE)
    assert len(read) == count


def test_a_folder_is_of_certain_photographs(
    squares: dict[str, CaptionedPhotos], backbone: EfficientNetLite, tmp_path: Path
) -> None:
    cache_features(squares["val"].files[:3], backbone, tmp_path, side=SIDE)
    for files in (squares["val"].files[:4], squares["val"].files[1:4]):
        with pytest.raises(ValueError, match="other photographs"):
            cache_features(files, backbone, tmp_path, side=SIDE)


def test_photographs_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"captions\.csv is not there"):
        read_captioned_photos(tmp_path)
