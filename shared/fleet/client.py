"""Models of the fleet as black boxes: asked over HTTP, on behalf of whoever asked us."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Self

import anyio
import httpx

from shared.fleet.budget import QueryBudget
from shared.fleet.questions import FleetAnswer, Outcome, Pause, Question, RetryPolicy, Send, advance, converse
from shared.http.fleet import FLEET_TOKEN_HEADER, require_fleet_token
from shared.request_context import current_context
from shared.settings import Domain, Settings

_CONNECT_S: Final = 2.0


class FleetClient:
    """Asks one service, for routes; an asynchronous context manager.

    Args:
        settings: where the service is, and the fleet's token.
        domain: of the service.
        budget: of queries; without one they are not counted.
        policy: when a question is asked again.
    """

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        *,
        budget: QueryBudget | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.domain, self.budget = domain, budget
        self._policy = policy or RetryPolicy()
        self._http = httpx.AsyncClient(**_options(settings, domain))

    async def ask(self, question: Question) -> FleetAnswer:
        """The answer to a question.

        Raises:
            BudgetExhausted: it is not asked.
            Problem: the service's own, or that it does not answer within the deadline.
        """
        conversation = converse(question, self.domain, policy=self._policy, budget=self.budget)
        step = advance(conversation)
        while not isinstance(step, FleetAnswer):
            step = advance(conversation, await self._take(step, question))
        return step

    async def _take(self, step: Send | Pause, question: Question) -> Outcome | None:
        if isinstance(step, Pause):
            await anyio.sleep(step.seconds)
            return None
        try:
            with anyio.fail_after(step.timeout_s):
                return await self._http.post(question.path, **_request(question, step.timeout_s))
        except TimeoutError:
            return httpx.ReadTimeout("the deadline has passed")
        except httpx.HTTPError as error:
            return error

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class BlockingFleetClient:
    """Asks one service, for jobs; a context manager.

    Args:
        settings: where the service is, and the fleet's token.
        domain: of the service.
        budget: of queries; without one they are not counted.
        policy: when a question is asked again.
        pause: waits for so many seconds; one that looks at the job's cancellation meanwhile lets it end sooner.
    """

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        *,
        budget: QueryBudget | None = None,
        policy: RetryPolicy | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.domain, self.budget = domain, budget
        self._policy, self._pause = policy or RetryPolicy(), pause
        self._http = httpx.Client(**_options(settings, domain))

    def ask(self, question: Question) -> FleetAnswer:
        """As `FleetClient.ask`; the deadline holds for each part of an answer here."""
        conversation = converse(question, self.domain, policy=self._policy, budget=self.budget)
        step = advance(conversation)
        while not isinstance(step, FleetAnswer):
            step = advance(conversation, self._take(step, question))
        return step

    def _take(self, step: Send | Pause, question: Question) -> Outcome | None:
        if isinstance(step, Pause):
            self._pause(step.seconds)
            return None
        try:
            return self._http.post(question.path, **_request(question, step.timeout_s))
        except httpx.HTTPError as error:
            return error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


def _options(settings: Settings, domain: Domain) -> dict[str, Any]:
    token = require_fleet_token(settings).get_secret_value()
    return {"base_url": settings.service_url(domain), "headers": {FLEET_TOKEN_HEADER: token}, "trust_env": False}


def _request(question: Question, timeout_s: float) -> dict[str, Any]:
    """The question as httpx takes it, under the request that it is asked for: its caller, its trace."""
    context = current_context()
    return {
        **question.arguments(),
        "headers": {"Accept": question.accept, **(context.onward_headers() if context else {})},
        "timeout": httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
    }
