"""Asks a registered endpoint about pictures: over checked addresses only, no faster than it allows, each try counted.

The addresses that may be reached are those of webhooks: public ones, and networks that the operator allows. A name is
resolved here and the connection goes to a checked address; redirects are not followed, and no proxy of the environment
is used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Generic, Self, TypedDict, TypeVar, Unpack

import httpcore
import httpx

from services.security.endpoints.registration import Endpoint
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


_Answer = TypeVar("_Answer")


class AskingOptions(TypedDict, total=False):
    """How an endpoint is asked, apart from what its registration says.

    Attributes:
        networks: what the operator allows besides public addresses; there also plain http; by default nothing.
        policy: pauses between tries; how many there are says the endpoint.
        resolve: names to addresses; by default as the system does.
        watch: called now and then while answers are waited for; what it raises ends the waiting.
    """

    networks: tuple[IPNetwork, ...]
    policy: RetryPolicy
    resolve: Resolve
    watch: Callable[[], object]


class EndpointClient(Generic[_Answer]):
    """A model behind a registered endpoint; a context manager, for one thread without an event loop of its own.

    If one picture of a batch has no answer after all tries, the whole batch fails: batches should be small where an
    endpoint is slow.

    Args:
        endpoint: as registered.
        read: an answer out of the content of a response; raises ValueError where it has none.
        what: the model and what it answers, in words: ("captioner", "caption").
        budget: each try after the first of a picture takes one query of it before it is sent; the first is for who
            asks to spend.
        options: as of `AskingOptions`.

    Raises:
        ValueError: the URL is not allowed, or the secret is not in the environment.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        read: Callable[[bytes], _Answer],
        budget: QueryBudget,
        *,
        what: tuple[str, str],
        **options: Unpack[AskingOptions],
    ) -> None:
        self._endpoint, self._budget, self._policy = endpoint, budget, options.get("policy") or RetryPolicy()
        self._read_content, self._wanted = read, what[1]
        self._who = f"The {what[0]} {endpoint.name}"
        self._secret = None if endpoint.secret is None else endpoint.secret.read()
        self._watch = options.get("watch")
        self._resolver = Resolver()
        self._guard = SsrfGuard(options.get("resolve") or self._resolver, options.get("networks", ()))
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

    def ask(self, pictures: Sequence[bytes]) -> list[_Answer]:
        """One answer about each picture, in order.

        Args:
            pictures: PNG files.

        Raises:
            BudgetExhausted: a further try is not allowed.
            Problem: the endpoint may not be asked, does not answer, or answers something else.
        """
        return self._runner.run(self._ask_all(pictures))

    async def _ask_all(self, pictures: Sequence[bytes]) -> list[_Answer]:
        allowed = asyncio.Semaphore(self._endpoint.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._keep_watching())
                tasks = [group.create_task(self._ask_one(png, allowed)) for png in pictures]
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

    async def _ask_one(self, png: bytes, allowed: asyncio.Semaphore) -> _Answer:
        async with allowed:
            for tried in range(1, self._endpoint.tries + 1):
                if tried > 1:
                    self._budget.spend(1)
                await self._wait_for_turn()
                failure, retry_after = await self._try(png)
                if not isinstance(failure, Problem):
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

    async def _try(self, png: bytes) -> tuple[_Answer | Problem, str]:
        """An answer or why there is none and trying again may help; and when, as the endpoint says.

        Raises:
            Problem: trying again does not help.
        """
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                status, headers, content = await self._post(png)
        except Refused as refused:
            raise BadGateway(f"{self._who} may not be asked: {refused}") from None
        except _BROKEN as error:
            late = isinstance(error, TimeoutError | httpcore.TimeoutException)
            kind: type[Problem] = GatewayTimeout if late else ServiceUnavailable
            return kind(f"{self._who} {'did not answer in time' if late else 'broke off its answer'}."), ""
        if status in _AGAIN:
            busy = ServiceUnavailable if status in _BUSY else BadGateway
            return busy(f"{self._who} answered with the status {status}."), headers.get("retry-after", "")
        if not 200 <= status < 300:
            raise BadGateway(f"{self._who} answered with the status {status}, which is no {self._wanted}.")
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
                    raise BadGateway(f"{self._who} answered more than {ANSWER_LIMIT} bytes.")
            return response.status, httpx.Headers(response.headers), bytes(received)

    def _read(self, content: bytes) -> _Answer:
        try:
            return self._read_content(content)
        except ValueError as error:
            raise BadGateway(f"{self._who} gave an answer that has no {self._wanted}: {error}.") from None

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
