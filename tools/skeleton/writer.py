"""Fills the templates in and puts the files where they belong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from tools.skeleton.names import Names, require_absent

TEMPLATES: Final = Path(__file__).parent / "templates"
_SUFFIX: Final = ".jinja"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """A capability to be written.

    Attributes:
        names: checked.
        root: of the repository.
        order: place of its chapter in the documentation.
        job: whether several images become a job of the worker without torch.
        gradient: whether there is a job of the worker with torch.
    """

    names: Names
    root: Path
    order: int
    job: bool
    gradient: bool

    @property
    def folders(self) -> dict[str, Path]:
        """Where each folder of templates goes."""
        domain, name = self.names.domain, self.names.name
        return {
            "capability": self.root / "services" / domain / name,
            "unit": self.root / "tests" / "unit" / "services" / domain / name,
            "integration": self.root / "tests" / "integration" / name,
        }

    @property
    def _left_out(self) -> frozenset[str]:
        """Templates, or folders of them, that the options do without."""
        without = {
            "capability/jobs.py": self.job,
            "capability/optimisation": self.gradient,
            "capability/released.py": self.job or self.gradient,
            "integration/test_jobs.py": self.job or self.gradient,
        }
        return frozenset(name for name, wanted in without.items() if not wanted)

    def write(self) -> list[Path]:
        """Write all files; returns them.

        Raises:
            NameRefused: one of the folders is there; nothing is written.
        """
        require_absent(list(self.folders.values()))
        texts = dict(self._render())
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return list(texts)

    def remove(self) -> None:
        """Take back what was written, where it could not be finished."""
        for folder in self.folders.values():
            shutil.rmtree(folder, ignore_errors=True)

    def _render(self) -> Iterator[tuple[Path, str]]:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701 - this makes Python, not HTML
        )
        for template in environment.list_templates():
            name = template.removesuffix(_SUFFIX)
            kind, _, below = name.partition("/")
            if not any(name == other or name.startswith(f"{other}/") for other in self._left_out):
                yield self.folders[kind] / below, environment.get_template(template).render(self._values())

    def _values(self) -> dict[str, object]:
        names = self.names
        return {
            "domain": names.domain,
            "name": names.name,
            "slug": names.slug,
            "words": names.words,
            "title": names.title,
            "model": names.model,
            "order": self.order,
            "job": self.job,
            "gradient": self.gradient,
            "kinds": ", ".join(["PREDICTIONS"] * self.job + ["INVERSIONS"] * self.gradient),
            "medical": names.domain == "medical",
        }
