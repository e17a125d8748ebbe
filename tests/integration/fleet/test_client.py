"""Fleet clients against a real server that is busy, slow, or not there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.fleet.client import BlockingFleetClient, FleetClient
from shared.fleet.questions import Question, RetryPolicy
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.problems import GatewayTimeout, ServiceUnavailable
from shared.request_context import bound, new_context
from shared.settings import Settings
from tests.integration.conftest import free_port
from tests.integration.gateway.servers import serve
from tests.support.serving import FLEET_TOKEN

QUESTION = Question(path="/ask", files=[("file", b"one"), ("file", b"two")], form={"model": "signs"}, queries=2)
QUICK = RetryPolicy(tries=3, first_pause_s=0.01)


class Service:
    """Refuses the first requests, then tells what it got."""

    def __init__(self) -> None:
        self.busy, self.slow_s, self.seen = 0, 0.0, 0
        self.app = FastAPI()
        self.app.post("/ask")(self.answer)

    async def answer(self, request: Request) -> Any:
        async with request.form() as form:
            files = [(await part.read()).decode() for part in form.getlist("file") if not isinstance(part, str)]
            model = form["model"]
        if self.busy:
            self.busy -= 1
            return Response(b'{"detail": "full"}', 503, {"Retry-After": "0"}, media_type="application/problem+json")
        self.seen += 1
        await asyncio.sleep(self.slow_s)
        headers = {name: request.headers.get(name) for name in (FLEET_TOKEN_HEADER, "facet-caller", "x-request-id")}
        return {"files": files, "model": model, "headers": headers}


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def settings(service: Service) -> Iterator[Settings]:
    with serve(service.app) as url:
        yield Settings(_env_file=None, perception_url=url)


async def test_a_question_arrives_on_behalf_of_the_caller(settings: Settings) -> None:
    context = new_context().on_behalf_of("ada")
    async with FleetClient(settings, "perception") as client:
        with bound(context):
            told = Response(content=(await client.ask(QUESTION)).content).body
    assert b'"files":["one","two"]' in told
    assert b'"facet-caller":"ada"' in told
    assert context.request_id.encode() in told
    assert FLEET_TOKEN.encode() in told


async def test_a_busy_service_is_asked_again_and_counts_once(service: Service, settings: Settings) -> None:
    service.busy, budget = 2, QueryBudget(2)
    async with FleetClient(settings, "perception", budget=budget, policy=QUICK) as client:
        await client.ask(QUESTION)
        with pytest.raises(BudgetExhausted):
            await client.ask(QUESTION)
    assert (service.seen, budget.spent) == (1, 2)


def test_a_job_asks_in_the_same_way(service: Service, settings: Settings) -> None:
    service.busy, pauses = 2, list[float]()
    budget = QueryBudget(3)
    with BlockingFleetClient(settings, "perception", budget=budget, policy=QUICK, pause=pauses.append) as client:
        assert b'"model":"signs"' in client.ask(QUESTION).content
        with pytest.raises(BudgetExhausted):
            client.ask(QUESTION)
    assert pauses == [0.01, 0.02]
    assert (service.seen, budget.spent) == (1, 2)


async def test_the_deadline_holds_for_all_tries_together(service: Service, settings: Settings) -> None:
    service.slow_s = 0.2
    question = Question(path="/ask", form={"model": "signs"}, deadline_s=0.1)
    began = time.monotonic()
    async with FleetClient(settings, "perception", policy=QUICK) as client:
        with pytest.raises(GatewayTimeout):
            await client.ask(question)
    assert service.seen <= 3
    assert time.monotonic() - began < 15


async def test_a_service_that_is_down_is_said_to_be() -> None:
    settings = Settings(_env_file=None, perception_url=f"http://127.0.0.1:{free_port()}")
    budget = QueryBudget(2)
    async with FleetClient(settings, "perception", budget=budget, policy=QUICK) as client:
        with pytest.raises(ServiceUnavailable, match="perception service"):
            await client.ask(QUESTION)
    assert budget.spent == 0
