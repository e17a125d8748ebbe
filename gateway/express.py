"""The gateway's side of the short way: quotas, audit, one hop, and the service's answer as it is."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.access.authentication import Authenticator
from gateway.access.meter import Meter
from gateway.access.record import record
from gateway.browsers import parse_authority
from gateway.directory import Directory
from gateway.headers import answer_headers, onward_headers
from gateway.intake import Intake
from gateway.proxy import Proxy
from gateway.quick_hop import QuickHop
from gateway.state import KEY_IN_SCOPE
from gateway.upstreams import Upstreams
from gateway.wire import WireFailure
from shared.access.audit import AuditLog
from shared.access.keys import ApiKey
from shared.access.scopes import grants, needed_scope
from shared.http.express import Answered, Asked
from shared.problems import Problem
from shared.settings import DOMAINS, Domain

_OF_BROWSERS = frozenset({b"origin", b"sec-fetch-site", b"x-forwarded-prefix"})


def _is_plain(scope: Scope) -> bool:
    """Whether no browser and no proxy has a hand in it: for them there are rules, and fields to be added."""
    names = [name for name, _ in scope["headers"]]
    host = parse_authority(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
    return _OF_BROWSERS.isdisjoint(names) and names.count(b"host") == 1 and host is not None and host.unnamed


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What is needed of callers who show keys."""

    authenticator: Authenticator
    meter: Meter


class GatewayLane:
    """Passes small tensors on. Where keys are asked for, those of keys that were good a moment ago and may do this.

    Args:
        upstreams: the services.
        directory: knows which has a model.
        proxies: know how each failure is told.
        audit: the log.
        keys: where keys are asked for.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        directory: Directory,
        proxies: Mapping[Domain, Proxy],
        audit: AuditLog,
        *,
        keys: KeyCheck | None = None,
    ) -> None:
        self._upstreams, self._directory, self._proxies, self._audit = upstreams, directory, proxies, audit
        self._keys = keys
        limits = {
            "connect_timeout_s": upstreams.connect_timeout_s,
            "answer_timeout_s": upstreams.answer_timeout_s,
        }
        self._hops = {domain: QuickHop(upstreams.urls[domain], **limits) for domain in DOMAINS}
        self._bases = {domain: upstreams.urls[domain].encode("ascii") for domain in DOMAINS}
        self._hosts = {domain: upstreams.host(domain) for domain in DOMAINS}
        self._intake = Intake()

    def takes(self, scope: Scope, name: str) -> bool:
        """Where the model's service and the caller are known, and the address is a plain one."""
        raw: bytes = scope.get("raw_path") or b""
        if not _is_plain(scope) or b"%" in raw or scope["query_string"] or self._directory.known(name) is None:
            return False
        if self._keys is None:
            return True
        key = self._keys.authenticator.remembered(Headers(scope=scope))
        if key is None or not grants(key.scopes, needed_scope(scope["method"], scope["path"])):
            return False
        scope[KEY_IN_SCOPE] = key
        return True

    def refusal(self, asked: Asked) -> Problem | None:
        """Where the model's service has said that it takes no more."""
        return self._intake.refusal(asked)

    async def answer(self, asked: Asked) -> Answered:
        """One hop, paid for.

        Raises:
            Problem: the quota is used up, or the service could not be asked.
        """
        key: ApiKey | None = asked.scope.get(KEY_IN_SCOPE)
        if key is None or self._keys is None:
            return await self._passed_on(asked)
        meter = self._keys.meter
        asked.context = meter.on_behalf_of_owner(asked.context, key)
        left = await meter.spend(key, reads_only=False, size=len(asked.body))
        try:
            answered = await self._passed_on(asked)
        except Problem as problem:
            problem.headers.update(left)
            raise
        told = [(name.lower().encode(), value.encode()) for name, value in left.items()]
        return Answered(answered.status, [*answered.headers, *told], answered.body)

    async def _passed_on(self, asked: Asked) -> Answered:
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
        record(
            self._audit,
            asked.scope,
            request_id=asked.context.request_id,
            key=asked.scope.get(KEY_IN_SCOPE),
            status=status,
            digest=self._digest(asked),
            size=len(asked.body),
        )

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
