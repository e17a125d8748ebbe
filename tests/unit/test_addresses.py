from __future__ import annotations

import pytest

from shared.settings import DOMAINS, Settings

DEFAULT_PORTS = ("8000", "8101", "8102", "8103", "8104", "8105", "6379")


@pytest.mark.parametrize("settings", [Settings(), Settings(_env_file=None)], ids=["as they are", "without a file"])
def test_no_test_falls_back_on_the_ports_of_a_running_fleet(settings: Settings) -> None:
    addresses = [settings.redis_url, *(settings.service_url(domain) for domain in DOMAINS)]
    assert not [address for address in addresses for port in DEFAULT_PORTS if f":{port}" in address]
    assert not {settings.gateway_port, *(settings.service_port(domain) for domain in DOMAINS)} - {0}
    assert len(set(addresses)) == len(addresses), "who asks the wrong one is not told apart"
