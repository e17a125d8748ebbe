"""Facet opens itself to a network only when its operator says so."""

from __future__ import annotations

from shared.settings import LOOPBACK_HOSTS, Settings


class UnsafeBinding(Exception):
    """The address would let strangers in; the message says what to set."""


def require_safe_binding(settings: Settings) -> None:
    """Refuse to listen beyond loopback, where nobody is asked for a key, without the operator's word.

    Args:
        settings: `host` is the address to listen on, `trusted_network` the operator's word.

    Raises:
        UnsafeBinding: the address is not loopback and the network is not said to be trusted.
    """
    if settings.host in LOOPBACK_HOSTS or settings.trusted_network:
        return
    raise UnsafeBinding(
        f"FACET_HOST={settings.host} would let everyone on the network use Facet, as no API keys are configured. "
        "Keep 127.0.0.1, or set FACET_TRUSTED_NETWORK=true if only trusted clients can reach the port."
    )
