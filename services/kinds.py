"""The kinds of job of every domain, and which classes of worker they need: `python -m services.kinds` prints those.

The supervisor starts a worker for each class that is declared here, and `make run` installs torch only for one of them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from services.medical.kinds import KINDS as MEDICAL
from services.uncertainty.kinds import KINDS as UNCERTAINTY
from shared.jobs.kinds import WEIGHTS, JobKind, JobKinds, Weight

KINDS: tuple[JobKind, ...] = (*MEDICAL, *UNCERTAINTY)
"""The jobs of every domain."""

FURTHER_KINDS = "FACET_WORKER_KINDS"
"""Environment variable that names a module with further KINDS, for tests and for operators' own jobs."""


def all_kinds() -> JobKinds:
    """All kinds that a worker of this environment can do."""
    module = os.environ.get(FURTHER_KINDS)
    further: tuple[JobKind, ...] = import_module(module).KINDS if module else ()
    return JobKinds((*KINDS, *further))


def declared_weights(kinds: JobKinds) -> tuple[Weight, ...]:
    """The classes of worker that some kind needs, in the order of `WEIGHTS`."""
    found = {kind.weight for kind in kinds}
    return tuple(weight for weight in WEIGHTS if weight in found)


if __name__ == "__main__":
    sys.stdout.write(" ".join(declared_weights(all_kinds())) + "\n")
