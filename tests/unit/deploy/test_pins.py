"""Every dependency is pinned, and serving's own ones are free of torch."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]


def normalised(requirement: str) -> str:
    """The name of a requirement as package indexes compare it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found.group()).lower()


PINNED = {normalised(line): line for line in LOCK}


def test_each_line_pins_one_released_version() -> None:
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*( +#.*)?", line)] == []


def test_nothing_is_pinned_twice() -> None:
    assert len(PINNED) == len(LOCK)


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_every_direct_dependency_is_pinned(extra: str) -> None:
    requirements = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    names = {normalised(requirement) for requirement in requirements} - {"facet"}
    assert names <= set(PINNED)


def test_serving_installs_no_training_library() -> None:
    serving = {normalised(requirement) for requirement in PROJECT["dependencies"]}
    assert not serving & {"torch", "onnxscript", "scikit-image", "scikit-learn", "matplotlib", "astra-toolbox"}


def test_the_gpl_library_is_for_benchmarks_only() -> None:
    extras = PROJECT["optional-dependencies"]
    assert [extra for extra, names in extras.items() if any("astra" in name for name in names)] == ["bench"]
