from __future__ import annotations

import pytest

from deploy.serve import configuration, main
from shared.binding import UnsafeBinding
from shared.settings import Settings


def test_each_name_gets_its_application_and_port() -> None:
    settings = Settings(gateway_port=9000, security_port=9103)
    gateway, security = configuration("gateway", settings), configuration("security", settings)
    assert (gateway.app, gateway.port) == ("gateway.app:create_app", 9000)
    assert (security.app, security.port) == ("services.security.app:create_app", 9103)
    assert gateway.factory
    assert gateway.host == "127.0.0.1"


def test_open_addresses_are_refused_in_every_process() -> None:
    with pytest.raises(UnsafeBinding):
        configuration("medical", Settings(host="0.0.0.0"))


def test_wrong_settings_end_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACET_HOST", "0.0.0.0")
    assert main(["gateway"]) == 2
    assert "FACET_TRUSTED_NETWORK" in capsys.readouterr().err


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SystemExit):
        main(["accounting"])
