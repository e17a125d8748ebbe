"""The perception service, started for the evaluation, and captioners of it as targets."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from services.security.caption_attack.captioners.fleet_target import CaptionQuestion, FleetCaptioner
from services.security.caption_attack.captioners.prepaid_budget import PrepaidBudget
from shared.fleet.budget import QueryBudget
from shared.fleet.client import BlockingFleetClient
from shared.settings import Settings

_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a captioner answers; can be sent to other processes.

    Attributes:
        url: of the perception service.
        token: of its fleet.
    """

    url: str
    token: str

    @property
    def settings(self) -> Settings:
        """Of whoever asks it."""
        return Settings(_env_file=None, perception_url=self.url, fleet_token=self.token)


@contextmanager
def perception_service(*, threads: int) -> Iterator[ServiceAddress]:
    """The service on a port of its own, with the released models and those of FACET_MODELS.

    Args:
        threads: of each inference.

    Raises:
        RuntimeError: it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = ServiceAddress(f"http://127.0.0.1:{port}", secrets.token_urlsafe(16))
    environment = os.environ | {
        "FACET_PERCEPTION_PORT": str(port),
        "FACET_FLEET_TOKEN": address.token,
        "FACET_INFERENCE_THREADS": str(threads),
    }
    command = [sys.executable, "-m", "deploy.serve", "perception"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: ServiceAddress, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("the perception service did not start")
        try:
            answer = httpx.get(f"{address.url}/health/live", timeout=2, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        if answer.is_success:
            return


@contextmanager
def asked_captioner(address: ServiceAddress, model: str, budget: QueryBudget) -> Iterator[FleetCaptioner]:
    """A captioner as a target of one budget; greedy, as the attack's authors ask theirs.

    Args:
        address: of its service.
        model: its name.
        budget: of queries.
    """
    prepaid = PrepaidBudget(budget)
    with BlockingFleetClient(address.settings, "perception", budget=prepaid) as client:
        yield FleetCaptioner(client, prepaid, CaptionQuestion(model=model))
