"""The kinds of job of every capability, and which classes of worker they need: `python -m services.kinds` prints those.

The supervisor starts a worker for each class that is declared here, that of torch where torch is installed.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from services.declarations import NotDeclared, declared_capabilities
from shared.jobs.kinds import WEIGHTS, JobKind, JobKinds, Weight

FURTHER_KINDS = "FACET_WORKER_KINDS"
"""Environment variable that names a module with further KINDS, which no route creates: drills and tests of workers."""


def all_kinds() -> JobKinds:
    """All kinds that a worker of this environment can do."""
    module = os.environ.get(FURTHER_KINDS)
    further: tuple[JobKind, ...] = import_module(module).KINDS if module else ()
    return JobKinds((*declared_capabilities().kinds, *further))


def declared_weights(kinds: JobKinds) -> tuple[Weight, ...]:
    """The classes of worker that some kind needs, in the order of `WEIGHTS`."""
    found = {kind.weight for kind in kinds}
    return tuple(weight for weight in WEIGHTS if weight in found)


def main() -> None:
    """Print the classes of worker; what is wrong with a declaration or its settings goes to standard error."""
    try:
        declared_capabilities().check_settings()
        weights = declared_weights(all_kinds())
    except (ImportError, NotDeclared, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
    sys.stdout.write(" ".join(weights) + "\n")


if __name__ == "__main__":
    main()
