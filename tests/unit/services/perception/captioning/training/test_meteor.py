"""METEOR is its authors' program, which needs Java and the files of a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.perception.captioning.training.meteor import MeteorMissing, meteor

CANDIDATES = (("a", "dog", "runs"),)
REFERENCES = ((("a", "dog", "is", "running"),),)


def test_meteor_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(MeteorMissing, match="needs Java"):
        meteor(CANDIDATES, REFERENCES, tmp_path)
