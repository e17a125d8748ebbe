"""Which workers a fleet needs: one for each class of job that is declared, and none for the rest."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

from shared.jobs.kinds import WEIGHTS, Weight


class KindsUnreadable(Exception):
    """The declarations of capabilities cannot be imported, or their settings are wrong."""


def declared_weights() -> tuple[Weight, ...]:
    """The classes of the declared kinds, those of FACET_WORKER_KINDS among them.

    Asked in a process of its own: the declarations are the services' code, of which the supervisor holds nothing.

    Raises:
        KindsUnreadable: they cannot be imported; holds the last line of why.
    """
    done = subprocess.run([sys.executable, "-m", "services.kinds"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise KindsUnreadable(f"the capabilities cannot be read: {reason[0]}")
    found = done.stdout.split()
    return tuple(weight for weight in WEIGHTS if weight in found)


def worker_weights(*, without_torch: bool, say: Callable[[str], None]) -> tuple[Weight, ...]:
    """The classes of worker to start; says so where torch is needed and cannot be had.

    Args:
        without_torch: leave it out even where a kind needs it.
        say: prints one line for people.

    Raises:
        KindsUnreadable: see `declared_weights`.
    """
    weights = declared_weights()
    if "torch" not in weights:
        return weights
    if not without_torch and importlib.util.find_spec("torch") is None:
        say("without torch, and so without jobs that learn: 'make run TORCH=1' installs it")
        without_torch = True
    return tuple(weight for weight in weights if weight != "torch" or not without_torch)
