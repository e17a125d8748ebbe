"""Signed links to the events of a job, for browsers: an EventSource cannot send an API key (whatwg/html #2177).

A link names a job and when it ends, signed with a secret that all gateways of a fleet derive from the fleet token, so
that nothing is stored. It lets its holder read this job's events and nothing else, as the job's owner, and can be
opened as often as needed until it ends: an EventSource that lost its connection reconnects with Last-Event-ID. A
stream that was opened in time goes on.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs

from starlette.types import Scope

from shared.problems import Unauthorized
from shared.settings import Settings

PARAMETER: Final = "link"
"""The query parameter that holds the token."""

_EVENTS: Final = re.compile(r"/v1/jobs/([A-Za-z0-9-]{1,64})/events")
_TOKEN: Final = re.compile(r"(?P<expires>[0-9]{1,12})\.(?P<owner>[A-Za-z0-9_-]{1,128})\.(?P<mac>[A-Za-z0-9_-]{43})")
_PURPOSE: Final = b"facet: links to events of jobs, 1"


@dataclass(frozen=True, slots=True)
class EventLink:
    """A link that was made.

    Attributes:
        path: path and query, below the gateway's address.
        expires_at: seconds since 1970 after which it opens nothing.
    """

    path: str
    expires_at: int


class EventLinks:
    """Makes links and knows them again.

    Args:
        settings: `fleet_token`, which the secret is derived from (without one it is drawn at random, and links hold for
            this process only), and `event_link_s`.
        clock: seconds since 1970.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        token = settings.fleet_token
        known = token.get_secret_value().encode() if token else secrets.token_bytes(32)
        self._secret = hmac.digest(known, _PURPOSE, sha256)
        self._lifetime_s = settings.event_link_s
        self._clock = clock

    def make(self, job_id: str, *, owner: str) -> EventLink:
        """A link to the events of a job.

        Args:
            job_id: whose.
            owner: of the job, as whom the link's holder reads.
        """
        expires_at = int(self._clock()) + self._lifetime_s
        named = _encoded(owner.encode())
        token = f"{expires_at}.{named}.{self._signature(job_id, named, str(expires_at))}"
        return EventLink(f"/v1/jobs/{job_id}/events?{PARAMETER}={token}", expires_at)

    def verify(self, path: str, query: bytes) -> str | None:
        """The owner of the job whose events are asked for with a good link; None without one.

        Args:
            path: of the request, decoded.
            query: of the request, as it came.
        """
        events, tokens = _EVENTS.fullmatch(path), _tokens(query)
        match = _TOKEN.fullmatch(tokens[0]) if events and len(tokens) == 1 else None
        if events is None or match is None:
            return None
        signature = self._signature(events[1], match["owner"], match["expires"])
        if not hmac.compare_digest(signature, match["mac"]) or int(match["expires"]) < self._clock():
            return None
        return _decoded(match["owner"])

    def owner_of(self, scope: Scope) -> str | None:
        """As whom a request without a key reads by its link; None where it has none, and for all other requests.

        Raises:
            Unauthorized: it has one that is over, or not of this fleet.
        """
        path, query = scope["path"], scope["query_string"]
        if scope["method"] not in {"GET", "HEAD"} or not _EVENTS.fullmatch(path) or not _tokens(query):
            return None
        owner = self.verify(path, query)
        if owner is None:
            raise Unauthorized(
                f"This link is over or was changed. POST {path}/links with an API key makes a new one, and "
                "last_event_id in its query goes on where the stream was.",
                headers={"WWW-Authenticate": 'Bearer realm="facet"'},
            )
        return owner

    def _signature(self, job_id: str, owner: str, expires: str) -> str:
        # None of the three can hold a line feed, so that no two triples are signed alike.
        return _encoded(hmac.digest(self._secret, f"{job_id}\n{owner}\n{expires}".encode(), sha256))


def _tokens(query: bytes) -> list[str]:
    if PARAMETER.encode() not in query:
        return []
    return parse_qs(query.decode("latin-1"), keep_blank_values=True).get(PARAMETER, [])


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(value: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
