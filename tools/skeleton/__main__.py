"""The command behind `make capability`: checks the names, writes the files, trains and releases the placeholder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from gateway.documents.cache import OWN_TAGS
from services.declarations import declared_capabilities
from shared.capabilities.collection import Capabilities
from tools.skeleton.names import NameRefused, check_names
from tools.skeleton.writer import Skeleton

ROOT = Path(__file__).parents[2]
_STEP = 10
"""Between the chapters of two capabilities, so that others fit in between."""


@click.command()
@click.argument("domain")
@click.argument("name")
@click.option("--job/--no-job", default=True, help="Several images become a job (default: yes)")
@click.option("--gradient/--no-gradient", default=False, help="A job that needs torch (default: no)")
def main(domain: str, name: str, *, job: bool, gradient: bool) -> None:
    """Write the skeleton of capability NAME of service DOMAIN."""
    declared = declared_capabilities()
    try:
        names = check_names(domain, name, declared, frozenset(OWN_TAGS))
        skeleton = Skeleton(names=names, root=ROOT, order=_next_order(declared), job=job, gradient=gradient)
        files = skeleton.write()
    except NameRefused as refused:
        raise click.ClickException(str(refused)) from None
    try:
        _tidy([path for path in files if path.suffix == ".py"])
        _run("-m", f"services.{domain}.{name}.training")
    except BaseException:
        skeleton.remove()
        raise
    for path in files:
        click.echo(path.relative_to(ROOT))
    folder = skeleton.folders["capability"].relative_to(ROOT)
    click.echo(f"\nIt is served by `make run`. What to replace first is in {folder / 'README.md'}.")


def _next_order(declared: Capabilities) -> int:
    return max((one.tag.order for one in declared if one.tag is not None), default=0) + _STEP


def _tidy(files: list[Path]) -> None:
    """Sort imports and break lines: how long they are depends on the name."""
    paths = [str(path) for path in files]
    _run("-m", "ruff", "check", "--quiet", "--fix", "--select", "I", *paths)
    _run("-m", "ruff", "format", "--quiet", *paths)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
