"""`make capability`: what it refuses, and that it writes clean code whatever the options and however long the name."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.declarations import SERVICES, declared_capabilities
from shared.settings import DOMAINS
from tools.skeleton.__main__ import main
from tools.skeleton.names import LONGEST_NAME, NameRefused, Names, check_names
from tools.skeleton.writer import Skeleton

ROOT = SERVICES.parent
CHAPTERS = frozenset({"jobs"})
LONGEST = "a" + "_bcd" * (LONGEST_NAME // 4 - 1) + "_e9"


def check(domain: str, name: str) -> Names:
    return check_names(domain, name, declared_capabilities(), CHAPTERS)


@pytest.mark.parametrize("name", ["fashion", "face_landmarks", "r2d2", LONGEST])
def test_names_that_will_do(name: str) -> None:
    names = check("security", name)
    assert names.path == f"/v1/security/{name.replace('_', '-')}"
    assert names.words == name.replace("_", " ")


@pytest.mark.parametrize(
    ("domain", "name", "reason"),
    [
        ("finance", "fashion", "take one of"),
        ("", "fashion", "take one of"),
        ("security", "", "small letters"),
        ("security", "Fashion", "small letters"),
        ("security", "fashion-design", "small letters"),
        ("security", "../fashion", "small letters"),
        ("security", "fashion__design", "small letters"),
        ("security", "7up", "small letters"),
        ("security", LONGEST + "g", "at most 32"),
        ("security", "class", "has a meaning"),
        ("security", "models", "has a meaning"),
        ("security", "conformal", "a capability of this name"),
        ("medical", "ct", "/v1/medical/ct is another"),
        ("security", "jobs", "chapter"),
        ("security", "low_dose_ct", "a capability of this name"),
    ],
)
def test_names_that_are_refused(domain: str, name: str, reason: str) -> None:
    with pytest.raises(NameRefused, match=reason):
        check(domain, name)


def skeleton(root: Path, domain: str, name: str, *, job: bool, gradient: bool) -> Skeleton:
    return Skeleton(names=check(domain, name), root=root, order=7, job=job, gradient=gradient)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "tests" / "integration" / "fashion").mkdir(parents=True)
    with pytest.raises(NameRefused, match="nothing was written"):
        skeleton(tmp_path, "security", "fashion", job=True, gradient=True).write()
    assert not (tmp_path / "services").exists()


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_is_written_is_clean_with_all_options_and_the_shortest_and_longest_name(
    domain: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for number, (stem, job, gradient) in enumerate(
        itertools.product(["x", LONGEST[:-1]], [True, False], [True, False])
    ):
        name = f"{stem}{number}"
        written = skeleton(tmp_path, domain, name, job=job, gradient=gradient).write()
        assert (tmp_path / "services" / domain / name / "capability.py") in written
        assert any("optimisation" in path.parts for path in written) == gradient
    ruff = [sys.executable, "-m", "ruff"]
    # As the command does: imports are sorted and lines broken by the length of the name.
    subprocess.run([*ruff, "check", "--quiet", "--fix", "--select", "I", "."], cwd=tmp_path, check=True)
    subprocess.run([*ruff, "format", "--quiet", "."], cwd=tmp_path, check=True)
    found = subprocess.run([*ruff, "check", "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_command_says_what_is_wrong_with_a_name() -> None:
    told = CliRunner().invoke(main, ["security", "Fashion"])
    assert told.exit_code == 1
    assert told.output.startswith("Error: NAME=Fashion: a name has small letters")
