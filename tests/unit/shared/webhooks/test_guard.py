"""Where webhooks may go, and that what was checked is what is connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import httpcore
import pytest

from shared.webhooks import ssrf_guard as guard_module
from shared.webhooks.addresses import IPAddress, is_public
from shared.webhooks.ssrf_guard import GuardedNetwork, Refused, Resolver, SsrfGuard

PUBLIC = "93.184.216.34"
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Names:
    """A resolver that answers in turn; the last answer repeats."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[IPAddress]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ip_address(text) for text in answer]


@pytest.mark.parametrize("text", [PUBLIC, "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "223.255.255.1",
                                  "2606:4700::1111", "2a00:1450:4001::1", "2400:cb00::1", "2001:200::1"])  # fmt: skip
def test_public_addresses(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "100.100.100.200", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:93.184.216.34",
    "64:ff9b::7f00:1", "64:ff9b::5db8:d822", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:20::1",
    "2001:db8::1", "2002:7f00:1::", "2002:5db8:d822::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1",
])  # fmt: skip
def test_other_addresses(text: str) -> None:
    assert not is_public(ip_address(text))


def test_no_address_that_python_calls_inner_counts_as_public() -> None:
    """Python's own tables, as a second opinion, at the edges of every network that ours or theirs knows."""
    edges = [ip_address(first * 2**16) for first in range(2**16)]
    assert [address for address in edges if is_public(address) and not address.is_global] == []
    assert not any(is_public(ipaddress.IPv6Address(f"::ffff:{address}")) for address in edges[::97])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://receiver.example/", "https://"),
        ("ftp://receiver.example/", "https://"),
        ("receiver.example", "host"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://user@receiver.example/", "user name"),
        ("https://user:word@receiver.example/", "user name"),
        ("https://@receiver.example/", "user name"),
        ("https://receiver.example:22/", "port"),
        ("https://receiver.example:99999/", "port"),
        ("https://receiver.example/#part", "fragment"),
        ("https://receiver.example/\n", "URL"),
        ("https://receiver.example/" + "a" * 2048, "2048"),
    ],
)
def test_urls_that_are_refused_unresolved(url: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        SsrfGuard(Names([PUBLIC])).parse(url)


@pytest.mark.parametrize(
    "url", ["https://receiver.example", "https://receiver.example:8443/a?b=c", "https://bücher.example/"]
)
async def test_urls_that_are_allowed(url: str) -> None:
    names = Names([PUBLIC, "2606:4700::1111"])
    await SsrfGuard(names).check(url)
    assert names.asked[0].isascii()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["2606:4700::1111", "::1"], []])
async def test_one_inner_address_is_enough_to_refuse(addresses: list[str]) -> None:
    with pytest.raises(Refused, match="only public addresses"):
        await SsrfGuard(Names(addresses)).check("https://receiver.example/")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]",
                                  "localhost", "[::ffff:7f00:1]", "169.254.169.254", "name.invalid"])  # fmt: skip
async def test_the_systems_resolver_sees_through_spellings(host: str) -> None:
    resolver = Resolver()
    with pytest.raises(Refused):
        await SsrfGuard(resolver).check(f"https://{host}/")
    resolver.close()


async def test_plain_http_only_where_the_operator_allows_the_network() -> None:
    await SsrfGuard(Names(["127.0.0.1"]), LOOPBACK).check("http://receiver.example/")
    await SsrfGuard(Names(["127.0.0.1"]), LOOPBACK).check("https://receiver.example/")
    for addresses in ([PUBLIC], ["127.0.0.1", PUBLIC], ["10.0.0.1"]):
        with pytest.raises(Refused, match="operator allows"):
            await SsrfGuard(Names(addresses), LOOPBACK).check("http://receiver.example/")


async def test_a_name_that_changes_its_address_is_refused_at_connect() -> None:
    names = Names([PUBLIC], ["127.0.0.1"])
    guard = SsrfGuard(names)
    await guard.check("https://receiver.example/")
    with pytest.raises(Refused):
        await GuardedNetwork(guard, plain=False).connect_tcp("receiver.example", 443)


async def test_the_checked_address_is_connected_to_and_the_next_tried() -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.2", 0)
    port = server.sockets[0].getsockname()[1]
    # The third answer would be elsewhere; one question is all there is.
    names = Names(["127.0.0.3", "127.0.0.2"], ["10.0.0.1"])
    stream = await GuardedNetwork(SsrfGuard(names, LOOPBACK), plain=True).connect_tcp("receiver.example", port)
    assert stream.get_extra_info("server_addr") == ("127.0.0.2", port)
    assert names.asked == ["receiver.example"]
    await stream.aclose()
    server.close()
    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork(SsrfGuard(Names(["127.0.0.3"]), LOOPBACK), plain=True).connect_tcp(
            "receiver.example", port
        )


@pytest.fixture
def slow_lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[str]]]:
    release, asked = threading.Event(), []

    def look_up(host: str) -> list[IPAddress]:
        asked.append(host)
        if host == "slow.example":
            release.wait(30)
        return [ip_address(PUBLIC)]

    monkeypatch.setattr(guard_module, "_addresses_of", look_up)
    yield release, asked
    release.set()


async def test_a_name_server_that_hangs_holds_up_its_own_names_only(
    slow_lookups: tuple[threading.Event, list[str]],
) -> None:
    release, asked = slow_lookups
    resolver = Resolver()
    waiting = [asyncio.create_task(resolver("slow.example")) for _ in range(200)]
    await asyncio.sleep(0)
    assert await resolver("quick.example") == [ip_address(PUBLIC)]
    waiting.pop().cancel()
    release.set()
    assert await asyncio.gather(*waiting) == [[ip_address(PUBLIC)]] * 199
    assert asked.count("slow.example") == 1
    resolver.close()
