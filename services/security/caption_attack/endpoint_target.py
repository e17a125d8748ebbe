"""Asks a registered endpoint for captions: over checked addresses only, no faster than it allows, each try counted.

The addresses that may be reached are those of webhooks: public ones, and networks that the operator allows. A name is
resolved here and the connection goes to a checked address; redirects are not followed, and no proxy of the environment
is used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import httpcore
import httpx
import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.distances import encode_exactly
from services.security.caption_attack.endpoints import CaptionEndpoint
from shared.fleet.budget import QueryBudget
from shared.fleet.questions import RetryPolicy
from shared.problems import BadGateway, GatewayTimeout, Problem, ServiceUnavailable
from shared.webhooks.addresses import IPNetwork
from shared.webhooks.ssrf_guard import GuardedNetwork, Refused, Resolve, Resolver, SsrfGuard

ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of an answer."""

_WATCH_S: Final = 0.2
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_BUSY: Final = frozenset({429, 503})
_BROKEN: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError, TimeoutError)


class EndpointTarget:
    """A captioner behind a registered endpoint; a context manager, for one thread without an event loop of its own.

    If one picture of a batch has no caption after all tries, the whole batch fails: batches of a campaign should be
    small where an endpoint is slow.

    Args:
        endpoint: as registered.
        budget: each try after the first of a picture takes one query of it before it is sent; the first is for who
            asks to spend.
        networks: what the operator allows besides public addresses; there also plain http.
        policy: pauses between tries; how many there are says the endpoint.
        resolve: names to addresses; by default as the system does.
        watch: called now and then while answers are waited for; what it raises ends the waiting.

    Raises:
        ValueError: the URL is not allowed, or the secret is not in the environment.
    """

    def __init__(
        self,
        endpoint: CaptionEndpoint,
        budget: QueryBudget,
        *,
        networks: tuple[IPNetwork, ...] = (),
        policy: RetryPolicy | None = None,
        resolve: Resolve | None = None,
        watch: Callable[[], object] | None = None,
    ) -> None:
        self._endpoint, self._budget, self._policy = endpoint, budget, policy or RetryPolicy()
        self._secret = None if endpoint.secret is None else endpoint.secret.read()
        self._watch = watch
        self._resolver = Resolver()
        self._guard = SsrfGuard(resolve or self._resolver, networks)
        try:
            self._url = self._guard.parse(endpoint.url)
        except Refused as refused:
            raise ValueError(f"the URL of the endpoint {endpoint.name} is not allowed: {refused}") from None
        self._runner = asyncio.Runner()
        self._connections = httpcore.AsyncConnectionPool(
            httpx.create_ssl_context(),
            max_connections=endpoint.concurrency,
            network_backend=GuardedNetwork(self._guard, plain=self._url.scheme == "http"),
        )
        self._next_s = 0.0

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        """One caption of each picture, in order.

        Raises:
            BudgetExhausted: a further try is not allowed.
            Problem: the endpoint may not be asked, does not answer, or answers something else.
        """
        return self._runner.run(self._caption_all([encode_exactly(picture) for picture in pictures]))

    async def _caption_all(self, pictures: Sequence[bytes]) -> list[str]:
        allowed = asyncio.Semaphore(self._endpoint.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._keep_watching())
                tasks = [group.create_task(self._caption_one(png, allowed)) for png in pictures]
                await asyncio.gather(*tasks)
                watching.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the first; the others were broken off for it
        return [task.result() for task in tasks]

    async def _keep_watching(self) -> None:
        """Let the job that asks end while it waits."""
        while self._watch is not None:
            await asyncio.sleep(_WATCH_S)
            self._watch()

    async def _caption_one(self, png: bytes, allowed: asyncio.Semaphore) -> str:
        async with allowed:
            for tried in range(1, self._endpoint.tries + 1):
                if tried > 1:
                    self._budget.spend(1)
                await self._wait_for_turn()
                failure, retry_after = await self._try(png)
                if isinstance(failure, str):
                    return failure
                if tried == self._endpoint.tries:
                    raise failure
                await asyncio.sleep(self._policy.pause_s(tried, retry_after))
        raise AssertionError("an endpoint has at least one try")

    async def _wait_for_turn(self) -> None:
        """Keep the rate: each try has a moment of its own, one after another."""
        now_s = asyncio.get_running_loop().time()
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + 1 / self._endpoint.queries_per_s
        await asyncio.sleep(turn_s - now_s)

    async def _try(self, png: bytes) -> tuple[str | Problem, str]:
        """A caption or why there is none and trying again may help; and when, as the endpoint says.

        Raises:
            Problem: trying again does not help.
        """
        name = self._endpoint.name
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                status, headers, content = await self._post(png)
        except Refused as refused:
            raise BadGateway(f"The captioner {name} may not be asked: {refused}") from None
        except _BROKEN as error:
            late = isinstance(error, TimeoutError | httpcore.TimeoutException)
            kind: type[Problem] = GatewayTimeout if late else ServiceUnavailable
            return kind(f"The captioner {name} {'did not answer in time' if late else 'broke off its answer'}."), ""
        if status in _AGAIN:
            busy = ServiceUnavailable if status in _BUSY else BadGateway
            return busy(f"The captioner {name} answered with the status {status}."), headers.get("retry-after", "")
        if not 200 <= status < 300:
            raise BadGateway(f"The captioner {name} answered with the status {status}, which is no caption.")
        return self._read(content), ""

    async def _post(self, png: bytes) -> tuple[int, httpx.Headers, bytes]:
        request = self._endpoint.build_request(png, self._secret)
        target = httpcore.URL(
            scheme=self._url.raw_scheme, host=self._url.raw_host, port=self._url.port, target=self._url.raw_path
        )
        headers, content = request.headers.raw, request.read()
        async with self._connections.stream("POST", target, headers=headers, content=content) as response:
            received = bytearray()
            async for chunk in response.aiter_stream():
                received += chunk
                if len(received) > ANSWER_LIMIT:
                    raise BadGateway(f"The captioner {self._endpoint.name} answered more than {ANSWER_LIMIT} bytes.")
            return response.status, httpx.Headers(response.headers), bytes(received)

    def _read(self, content: bytes) -> str:
        try:
            return self._endpoint.read_caption(content)
        except ValueError as error:
            raise BadGateway(f"The answer of the captioner {self._endpoint.name} has no caption: {error}.") from None

    def close(self) -> None:
        """Close its connections."""
        self._runner.run(self._connections.aclose())
        self._runner.close()
        self._resolver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
