"""When a delivery that failed is tried again: exponential backoff with full jitter, or later if the receiver asks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_S = 6 * 3600.0
"""A receiver may ask for a longer pause than the schedule's, up to this."""


def delay_s(schedule_s: Sequence[float], tried: int, *, retry_after_s: float | None = None) -> float | None:
    """Seconds until the next try, or None when the schedule is over.

    Args:
        schedule_s: longest pause after the first try, the second, and so on. The pause is drawn between zero and that,
            so that what failed together does not come back together.
        tried: tries so far.
        retry_after_s: as the receiver asked.
    """
    if tried > len(schedule_s):
        return None
    asked_s = min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)
    return max(random.uniform(0.0, schedule_s[tried - 1]), asked_s)


def parse_retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After field, given as a number or a date (RFC 9110, section 10.2.3); None if it is neither."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
