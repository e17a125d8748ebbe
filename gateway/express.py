"""The gateway's side of the short way: audit, one hop, and the service's answer as it is."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping

from starlette.types import Scope

from gateway.directory import Directory
from gateway.headers import answer_headers, onward_headers
from gateway.intake import Intake
from gateway.proxy import Proxy
from gateway.quick_hop import QuickHop
from gateway.upstreams import Upstreams
from gateway.wire import WireFailure
from shared.access.audit import AuditLog, Entry
from shared.http.context import ANONYMOUS
from shared.http.express import Answered, Asked
from shared.http.middleware import AUDIT_IN_SCOPE
from shared.problems import Problem
from shared.settings import DOMAINS, Domain


class GatewayLane:
    """Passes small tensors on. Only where nobody is asked for keys: quotas and scopes are on the long way.

    Args:
        upstreams: the services.
        directory: knows which has a model.
        proxies: know how each failure is told.
        audit: the log.
    """

    def __init__(
        self, upstreams: Upstreams, directory: Directory, proxies: Mapping[Domain, Proxy], audit: AuditLog
    ) -> None:
        self._upstreams, self._directory, self._proxies, self._audit = upstreams, directory, proxies, audit
        limits = {
            "connect_timeout_s": upstreams.connect_timeout_s,
            "answer_timeout_s": upstreams.answer_timeout_s,
        }
        self._hops = {domain: QuickHop(upstreams.urls[domain], **limits) for domain in DOMAINS}
        self._bases = {domain: upstreams.urls[domain].encode("ascii") for domain in DOMAINS}
        self._hosts = {domain: upstreams.host(domain) for domain in DOMAINS}
        self._intake = Intake()

    def takes(self, scope: Scope, name: str) -> bool:
        """Where the model's service is known, and the address is a plain one."""
        raw: bytes = scope.get("raw_path") or b""
        return b"%" not in raw and not scope["query_string"] and self._directory.known(name) is not None

    def refusal(self, asked: Asked) -> Problem | None:
        """Where the model's service has said that it takes no more."""
        return self._intake.refusal(asked)

    async def answer(self, asked: Asked) -> Answered:
        """One hop.

        Raises:
            Problem: the service could not be asked.
        """
        began = time.perf_counter()
        domain = self._directory.known(asked.name)
        assert domain is not None  # noqa: S101 - `takes` has looked
        try:
            reply = await self._hops[domain].ask(
                self._head(asked, domain), asked.body, meanwhile=lambda: self._digest(asked)
            )
        except WireFailure as failure:
            raise self._proxies[domain].problem_of(failure) from failure
        if reply.status == 404:
            self._directory.doubt(asked.name)
        elif reply.status == 503:
            self._intake.full(asked, headers=reply.headers, body=reply.body)
        headers = answer_headers(reply.headers, base=self._bases[domain])
        headers.append((b"server-timing", f"gateway;dur={(time.perf_counter() - began) * 1000:.1f}".encode()))
        return Answered(reply.status, headers, reply.body)

    def noted(self, asked: Asked, status: int) -> None:
        """Write into the audit log what ran."""
        entry = Entry(
            request_id=asked.context.request_id,
            caller=ANONYMOUS,
            key="",
            method=asked.scope["method"],
            path=asked.scope["path"],
            status=status,
            digest=self._digest(asked),
            bytes=len(asked.body),
        )
        asked.scope[AUDIT_IN_SCOPE] = self._audit.write(entry)

    def _digest(self, asked: Asked) -> str:
        """For the audit log: computed while the service works, when the body has just passed through the caches."""
        if asked.body and not asked.digest:
            asked.digest = f"sha256:{hashlib.sha256(asked.body).hexdigest()}"
        return asked.digest

    def ended(self, asked: Asked) -> None:
        """See `Intake`."""
        self._intake.ended(asked)

    async def close(self) -> None:
        """Close idle connections."""
        for hop in self._hops.values():
            hop.close()
        await asyncio.sleep(0)  # the loop closes them in its next turn

    def _head(self, asked: Asked, domain: Domain) -> bytes:
        scope = asked.scope
        headers = onward_headers(scope, host=self._hosts[domain], context=asked.context, forwarded=False)
        lines = [b"POST %b HTTP/1.1\r\n" % scope["raw_path"]]
        lines += [b"%b: %b\r\n" % pair for pair in headers]
        lines += [b"%b: %b\r\n" % pair for pair in self._upstreams.credentials]
        lines.append(b"\r\n")
        return b"".join(lines)
