"""What every test has: a fleet token, without which no gateway and no service starts, and addresses that lead nowhere.

A fleet may run on the default ports while the tests do: a test that forgets to say where Redis or a service is must
fail, and not ask, or even write to, that one.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.addresses import NOWHERE
from tests.support.serving import FLEET_TOKEN

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Before torch is loaded: networks as small as those of the tests take four times as long with a second thread on a
busy machine, and what they learn depends on the number."""

os.environ.setdefault("FACET_INFERENCE_THREADS", "1")
"""As above: the processes of a test are many, the cores two, and threads that wait for each other do so busily."""

os.environ["FACET_FLEET_TOKEN"] = FLEET_TOKEN
os.environ.update(NOWHERE)


@pytest.fixture(scope="module", autouse=True)
def _leave_the_living_alone() -> Iterator[None]:
    """Collect what a module left behind, and do not look at what still lives again.

    Modules, applications and caches of 8,000 tests are millions of objects: every full collection walks over all of
    them, and the later a test comes, the longer it would take.
    """
    yield
    gc.collect()
    gc.freeze()


class FleetScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Two halves for two processes: tests of the one fleet of tests/e2e, and those of hostile callers or own fleets.

    Hostile callers mostly wait and browsers mostly compute, so that both at once take two thirds of the time.
    (`--dist loadgroup` of pytest-xdist 3.8 writes the group into an attribute that pytest 9.2 no longer reads.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return "own fleets" if _starts_fleets(self.config.rootpath / nodeid.partition("::")[0]) else "shared fleet"


@cache
def _starts_fleets(file: Path) -> bool:
    return "hostile" in file.parts or "start_fleet" in file.read_text("utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FleetScheduling | None:
    """Halve what `--dist loadscope` runs."""
    return FleetScheduling(config, log) if config.getoption("dist") == "loadscope" else None
