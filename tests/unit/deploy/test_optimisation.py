"""Where code that needs gradients may be: import contracts that would be broken otherwise, and images."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.settings import DOMAINS

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()

TOY = {
    "capability.py": "",
    "routes.py": "",
    "optimisation/__init__.py": "",
    "optimisation/descent.py": "import torch\n",
    "training/__init__.py": "",
}

GOOD: dict[str, str] = {}
TORCH = "Only training, evaluation and optimisation import torch"
PROTECTED = "Only the torch worker, training and evaluation reach optimisation"
SERVES_NOTHING = "Optimisation serves nothing"


def tree(folder: Path, changes: dict[str, str]) -> Path:
    """A tree of empty packages with one capability, under the contracts of this repository."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("deploy", "gateway", "shared", "services", *(f"services/{domain}" for domain in DOMAINS)):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    for name, content in {**TOY, **changes}.items():
        path = folder / "services" / "security" / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "services" / "security" / "toy" / "__init__.py").touch()
    for package in named_packages():
        (folder / package).mkdir(parents=True, exist_ok=True)
        for part in (folder / package, *(folder / package).parents):
            if part.is_relative_to(folder / "services") or part.is_relative_to(folder / "shared"):
                (part / "__init__.py").touch()
    return folder


def named_packages() -> list[str]:
    """Folders that contracts of this repository name one by one, and that a tree under them has to have."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [
        f"{container}.{name}"
        for contract in contracts
        for container in contract.get("containers", [])
        for layer in contract["layers"]
        for name in layer.split(" | ")
    ]
    named = [
        name
        for contract in contracts
        for key in ("source_modules", "protected_modules", "allowed_importers")
        for name in contract.get(key, [])
        if "*" not in name
    ]
    return [name.replace(".", "/") for name in {*layers, *named}]


def broken_contracts(folder: Path) -> set[str]:
    """Names of the contracts that the tree breaks."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return set(re.findall(r"^(.*) BROKEN\b", done.stdout, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        (GOOD, set()),
        ({"jobs.py": "import torch\n"}, {TORCH}),
        ({"routes.py": "from services.security.toy.optimisation import descent\n"}, {PROTECTED}),
        ({"jobs.py": "def run():\n    import services.security.toy.optimisation.descent\n"}, {PROTECTED}),
        ({"training/train.py": "from services.security.toy.optimisation import descent\n"}, set()),
        ({"optimisation/views.py": "import fastapi\n"}, {SERVES_NOTHING}),
        ({"optimisation/views.py": "from services.security.toy import routes\n"}, {SERVES_NOTHING}),
        ({"optimisation/more.py": "from services.security.toy.optimisation import descent\n"}, set()),
    ],
)
def test_contracts_hold_optimisation_apart(tmp_path: Path, changes: dict[str, str], broken: set[str]) -> None:
    assert broken_contracts(tree(tmp_path, changes)) == broken


def stage(name: str) -> str:
    """The instructions of one stage of the Dockerfile."""
    found = re.search(rf"^FROM \S+ AS {name}$(.*?)(?=^FROM |\Z)", DOCKERFILE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found.group(1)


def test_only_the_torch_image_has_the_code_of_gradient_jobs(tmp_path: Path) -> None:
    """The instruction that removes it is run on a tree that has some."""
    assert "COPY . ." in stage("torch")
    assert "COPY . ." not in stage("serving")
    assert "COPY --from=serving-code /srv/facet ." in stage("serving")
    (removal,) = re.findall(r"^RUN (.*optimisation.*)$", stage("serving-code"), flags=re.MULTILINE)
    for folder in ("services/security/toy/optimisation/deep", "services/security/toy/training", "shared"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "code.py").touch()
    subprocess.run(["sh", "-c", removal], cwd=tmp_path, check=True)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py")} == {
        "services/security/toy/training/code.py", "shared/code.py"
    }  # fmt: skip
    subprocess.run(["sh", "-c", removal], cwd=tmp_path, check=True)  # also where there is none
