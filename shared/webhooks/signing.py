"""Signatures of Standard Webhooks: HMAC-SHA256 over id, timestamp and body, so that a receiver knows who wrote it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A fresh secret: `whsec_` and base64 of random bytes."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of version 1.

    Args:
        secret: with its prefix.
        message_id: value of `webhook-id`.
        timestamp: value of `webhook-timestamp`, in seconds since the epoch.
        body: as it is sent, byte for byte.
    """
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode("ascii") + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")


def signature_headers(secrets_in_use: Iterable[str], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of the specification; with several secrets, one signature of each, parted by spaces."""
    signatures = [signature(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in secrets_in_use]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
