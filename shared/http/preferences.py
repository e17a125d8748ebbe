"""The Prefer header (RFC 7240): `respond-async` and `wait=N` choose between waiting for an answer and a job."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import Request

from shared.settings import Settings

# Every alternative takes what it saw and gives nothing back, so that no header makes it slow.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",]+|,')


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the caller prefers; unknown preferences are ignored, as the RFC asks."""

    respond_async: bool = False
    """Answer 202 with a job at once."""
    wait_s: int | None = None
    """Seconds the caller is ready to wait for the finished answer; None where it did not say."""

    def applied(self) -> str | None:
        """The value of Preference-Applied, if any preference was honoured."""
        parts = ["respond-async"] * self.respond_async
        if self.wait_s is not None:
            parts.append(f"wait={self.wait_s}")
        return ", ".join(parts) or None


def _items(header: str) -> list[str]:
    """Split at the commas outside of quotes."""
    items: list[list[str]] = [[]]
    for part in _TOKEN.findall(header):
        if part == ",":
            items.append([])
        else:
            items[-1].append(part)
    return ["".join(parts) for parts in items]


def parse_prefer(headers: Iterable[str], *, longest_wait_s: int) -> Preferences:
    """Read all Prefer headers of a request; the first mention of a preference wins (RFC 7240, section 2).

    Args:
        headers: values of the Prefer header fields, in order.
        longest_wait_s: upper end of `wait`; longer wishes are shortened, which Preference-Applied shows.
    """
    found: dict[str, str] = {}
    for header in headers:
        for item in _items(header):
            name, _, value = item.split(";")[0].partition("=")
            if name.strip():
                found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    wait_s = min(int(wait), longest_wait_s) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
    return Preferences(respond_async="respond-async" in found, wait_s=wait_s)


def preferences_of(request: Request) -> Preferences:
    """The preferences of a request, within the limits of the application that got it."""
    settings: Settings = request.app.state.settings
    return parse_prefer(request.headers.getlist("prefer"), longest_wait_s=settings.longest_wait_s)
