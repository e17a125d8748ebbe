from __future__ import annotations

import pytest
from pydantic import SecretStr

from shared.network_exposure import UnsafeBinding, require_safe_binding
from shared.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_nothing(host: str) -> None:
    require_safe_binding(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_other_addresses_are_refused_with_the_way_out(host: str) -> None:
    with pytest.raises(UnsafeBinding, match=r"no API keys.*FACET_TRUSTED_NETWORK"):
        require_safe_binding(Settings(host=host))


def test_the_operators_word_opens_them() -> None:
    require_safe_binding(Settings(host="0.0.0.0", trusted_network=True))


def test_so_do_keys_with_services_that_believe_the_gateway_only() -> None:
    require_safe_binding(Settings(host="0.0.0.0", api_keys=True, fleet_token=SecretStr("s")))
    with pytest.raises(UnsafeBinding, match="FACET_FLEET_TOKEN"):
        require_safe_binding(Settings(host="0.0.0.0", api_keys=True, fleet_token=None))
