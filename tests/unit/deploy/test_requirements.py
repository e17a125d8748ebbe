"""What is installed for serving: the locked versions, each by the digests of its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "requirements"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
EXTRAS = {"local": ["local", "medical"], "image": ["s3", "tracing"], "image-medical": ["medical", "s3", "tracing"]}


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0]).lower()


def pins(path: Path) -> dict[str, str]:
    return {name_of(name): version for name, version in PIN.findall(path.read_text())}


@pytest.mark.parametrize("name", EXTRAS)
def test_versions_are_the_locked_ones_with_digests(name: str) -> None:
    path = FOLDER / f"{name}.txt"
    locked, found = pins(ROOT / "requirements.lock"), pins(path)
    # What other systems or versions of Python need alone is in no environment that the lock was written from.
    assert {one: version for one, version in found.items() if locked.get(one, version) != version} == {}
    blocks = re.split(r"\n(?=\S)", path.read_text())
    assert [block for block in blocks if PIN.match(block) and "--hash=sha256:" not in block] == []


@pytest.mark.parametrize(("name", "extras"), EXTRAS.items())
def test_all_that_is_declared_is_there(name: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    assert {name_of(one) for one in declared} <= pins(FOLDER / f"{name}.txt").keys()


def test_the_plain_image_has_nothing_of_the_medical_extra() -> None:
    assert not {"numba", "llvmlite", "finufft", "highdicom", "pydicom"} & pins(FOLDER / "image.txt").keys()
