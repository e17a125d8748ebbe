"""Where nothing listens: what tests get that do not say where Redis, a gateway or a service is."""

from __future__ import annotations

from shared.settings import DOMAINS

NO_REDIS = "redis://127.0.0.1:1/0"

NO_SERVICE = {domain: f"http://127.0.0.1:{port}" for port, domain in enumerate(DOMAINS, start=1)}
"""Ports that only root may listen on, and that nothing uses."""

NOWHERE = {
    "FACET_REDIS_URL": NO_REDIS,
    "FACET_GATEWAY_PORT": "0",
    **{f"FACET_{domain.upper()}_PORT": "0" for domain in DOMAINS},
    **{f"FACET_{domain.upper()}_URL": url for domain, url in NO_SERVICE.items()},
}
"""Variables of the environment; a server that starts without a port gets a free one."""
