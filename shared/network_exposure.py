"""Facet opens itself to a network only when its operator says so."""

from __future__ import annotations

from shared.settings import LOOPBACK_HOSTS, Settings


class UnsafeBinding(Exception):
    """The address would let strangers in; the message says what to set."""


def require_safe_binding(settings: Settings) -> None:
    """Refuse to listen beyond loopback where nobody is asked for a key, without the operator's word.

    Args:
        settings: `host` is the address to listen on; `api_keys` with `fleet_token`, or `trusted_network`, allow any.

    Raises:
        UnsafeBinding: the address is not loopback, and neither is true.
    """
    guarded = settings.api_keys and settings.fleet_token is not None
    if settings.host in LOOPBACK_HOSTS or settings.trusted_network or guarded:
        return
    raise UnsafeBinding(
        f"FACET_HOST={settings.host} would let everyone on the network use Facet, as no API keys are asked for. "
        "Keep 127.0.0.1, or set FACET_API_KEYS=true and FACET_FLEET_TOKEN to a secret, or FACET_TRUSTED_NETWORK=true "
        "if only trusted clients can reach the port."
    )
