"""Webhooks by TLS: the name is what is verified, the checked address is where it goes."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trustme

from shared.webhooks.addresses import IPAddress
from shared.webhooks.sender import Message, Sender, Sent
from shared.webhooks.signing import new_secret
from shared.webhooks.ssrf_guard import SsrfGuard

NAME = "receiver.example"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this process trusts, as an operator with one of their own would have it."""
    made = trustme.CA()
    file = tmp_path / "authority.pem"
    made.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return made


async def loopback(host: str) -> list[IPAddress]:
    return [ip_address("127.0.0.1")]


async def send_to(certificate: trustme.LeafCert, names: list[str | None]) -> Sent:
    """Send a message to NAME, where a server with this certificate notes which name it is asked for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    certificate.configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        names.extend(line[6:].decode() for line in head.split(b"\r\n") if line.startswith(b"Host: "))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://{NAME}:{server.sockets[0].getsockname()[1]}/"
        sender = Sender(SsrfGuard(loopback, (ip_network("127.0.0.0/8"),)), timeout_s=5, version="0")
        return await sender.send(Message(id="msg_1", url=url, body=b"{}", secrets=[new_secret()]))


async def test_a_certificate_for_the_name(authority: trustme.CA) -> None:
    names: list[str | None] = []
    sent = await send_to(authority.issue_cert(NAME), names)
    assert (sent.attempt.status_code, sent.attempt.answer, sent.attempt.error) == (200, "taken", None)
    asked, host = names
    assert asked == NAME
    assert (host or "").partition(":")[0] == NAME


async def test_a_certificate_for_the_address_or_another_name_does_not_do(authority: trustme.CA) -> None:
    sent = await send_to(authority.issue_cert("127.0.0.1", "other.example"), [])
    assert sent.attempt.status_code is None
    assert "TLS failed: Hostname mismatch" in (sent.attempt.error or "")


@pytest.mark.usefixtures("authority")
async def test_an_unknown_authority_does_not_do() -> None:
    sent = await send_to(trustme.CA().issue_cert(NAME), [])
    assert "TLS failed: unable to get local issuer certificate" in (sent.attempt.error or "")
