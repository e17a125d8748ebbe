from __future__ import annotations

import pytest

from deploy.edge_server import bind
from deploy.serve import main, service_configuration
from shared.settings import Settings


def test_each_service_gets_its_application_and_port() -> None:
    found = service_configuration("security", Settings(security_port=9103))
    assert (found.app, found.port, found.host) == ("services.security.app:create_app", 9103, "127.0.0.1")
    assert found.factory


def test_the_edge_listens_where_the_settings_say() -> None:
    with bind(Settings(gateway_port=0)) as listener:
        address, port = listener.getsockname()
        assert address == "127.0.0.1"
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            bind(Settings(gateway_port=port))  # no second gateway beside it
    with bind(Settings(host="::1", gateway_port=0)) as listener:
        assert listener.getsockname()[0] == "::1"


@pytest.mark.parametrize("name", ["gateway", "medical"])
def test_open_addresses_are_refused_in_every_process(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACET_HOST", "0.0.0.0")
    assert main([name]) == 2
    assert "FACET_TRUSTED_NETWORK" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gateway", "medical"])
def test_no_process_starts_without_a_fleet_token(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FACET_FLEET_TOKEN")
    monkeypatch.chdir("/")  # no .env
    assert main([name]) == 2
    assert "FACET_FLEET_TOKEN is not set" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gateway", "uncertainty"])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FACET_CONFORMAL_UPLOAD_LIMIT_BYTES", "0", "upload_limit_bytes"),
        ("FACET_CAPABILITIES", "no.such.module", "No module named 'no'"),
        ("FACET_CAPABILITIES", "json", "json has no CAPABILITY"),
    ],
)
def test_what_is_wrong_with_a_capability_is_told(
    name: str, variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert main([name]) == 2
    assert said in capsys.readouterr().err


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SystemExit):
        main(["accounting"])
