"""Keeps webhooks from reaching inside (server-side request forgery): names are resolved here, every address is checked,
and the connection goes to a checked address, so that a DNS answer that changes in between has no effect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import httpcore
import httpx

from shared.webhooks.addresses import IPAddress, IPNetwork, is_public, is_within

Resolve = Callable[[str], Awaitable[list[IPAddress]]]
"""All addresses of a host name; an address in figures is its own. Raises OSError where there are none."""

URL_LIMIT = 2048
_RESOLVERS = 64
_ADDRESSES_TRIED = 4
_CONNECT_S = 5.0


class Refused(Exception):
    """Facet does not send to this URL, or not at present; the text is for its owner."""


class Resolver:
    """The system's resolver in threads of its own: a name server that hangs blocks nothing else of the process.

    Questions for the same name share one thread, so that deliveries to a hanging one do not take them all.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="webhook-dns")
        self._asked: dict[str, asyncio.Future[list[IPAddress]]] = {}

    async def __call__(self, host: str) -> list[IPAddress]:
        """Resolve a name."""
        asked = self._asked.get(host)
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, _addresses_of, host)
            self._asked[host] = asked
            asked.add_done_callback(lambda _: self._asked.pop(host))
        return await asyncio.shield(asked)

    def close(self) -> None:
        """Start no more threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses_of(host: str) -> list[IPAddress]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class SsrfGuard:
    """Decides where webhooks may go."""

    resolve: Resolve
    allowed_networks: tuple[IPNetwork, ...] = ()
    """What an operator allows besides public addresses; also by plain http."""

    def parse(self, url: str) -> httpx.URL:
        """Check what can be seen of a URL without resolving it.

        Raises:
            Refused: it says what is wrong.
        """
        try:
            parsed = httpx.URL(url)
            host = parsed.host and parsed.raw_host
        except (httpx.InvalidURL, ValueError):
            raise Refused("This is no URL.") from None
        if len(url) > URL_LIMIT or not host:
            raise Refused(f"A URL with a host is needed, of at most {URL_LIMIT} characters.")
        if parsed.scheme != "https" and not (parsed.scheme == "http" and self.allowed_networks):
            raise Refused("The URL must begin with https://.")
        if parsed.userinfo or "@" in url.partition("://")[2].partition("/")[0]:
            raise Refused("The URL must not hold a user name or password. Verify the signature instead.")
        if parsed.fragment:
            raise Refused("The URL must have no fragment.")
        if parsed.port is not None and parsed.port != 80 and not 1024 <= parsed.port <= 65535:
            raise Refused("The port must be the scheme's own or one from 1024 to 65535.")
        return parsed

    async def check(self, url: str) -> httpx.URL:
        """Check a URL and where its host is at present.

        Raises:
            Refused: it says what is wrong.
        """
        parsed = self.parse(url)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self.addresses(parsed.raw_host.decode("ascii"), plain=parsed.scheme == "http")
        except TimeoutError:
            raise Refused("The name of the host cannot be resolved at present.") from None
        return parsed

    async def addresses(self, host: str, *, plain: bool) -> list[IPAddress]:
        """All addresses of a host, each of them checked.

        Args:
            host: a name or an address in figures.
            plain: without TLS, which only networks that the operator allowed may be spoken to.

        Raises:
            Refused: one of them is not allowed, or there are none. The text does not tell these apart: what inner
                names stand for is nobody's business outside.
        """
        try:
            found = await self.resolve(host.strip("[]"))
        except (OSError, UnicodeError, ValueError):
            found = []
        if not found or not all(self._is_allowed(address, plain=plain) for address in found):
            kind = "addresses that the operator allows" if plain else "public addresses"
            raise Refused(f"The host must be known to DNS and have only {kind}.")
        return found

    def _is_allowed(self, address: IPAddress, *, plain: bool) -> bool:
        return is_within(address, self.allowed_networks) or (not plain and is_public(address))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the guard has just checked. TLS and Host keep the name: httpcore sets them.

    Args:
        guard: what is allowed.
        plain: without TLS.
    """

    def __init__(self, guard: SsrfGuard, *, plain: bool) -> None:
        self._guard = guard
        self._plain = plain
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (as httpcore calls it)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""
        addresses = await self._guard.addresses(host, plain=self._plain)
        failure: Exception = httpcore.ConnectError("no address answers")
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._sockets.connect_tcp(
                    str(address), port, min(timeout or _CONNECT_S, _CONNECT_S), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 (as httpcore calls it)
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """No webhook goes to a socket file."""
        raise Refused("Webhooks are sent by TCP only.")

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks."""
        await asyncio.sleep(seconds)
