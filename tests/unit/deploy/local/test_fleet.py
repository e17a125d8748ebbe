from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.local.fleet import Fleet, Options, build_fleet
from deploy.local.ports import PortsTaken, free_ports
from deploy.local.processes import Specification, Tier
from deploy.local.redis_server import RedisMissing
from shared.jobs.kinds import WEIGHTS, Weight
from shared.settings import DOMAINS, Settings


@pytest.fixture(autouse=True)
def no_redis_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for an operator who leaves Redis to the fleet."""
    monkeypatch.delenv("FACET_REDIS_URL")


def any_fleet(tmp_path: Path, weights: tuple[Weight, ...] = WEIGHTS) -> Fleet:
    return build_fleet(Settings(), Options(state=tmp_path, weights=weights, any_ports=True))


def by_name(fleet: Fleet) -> dict[str, Specification]:
    return {each.name: each for each in fleet.specifications}


def test_it_is_made_of_the_processes_of_the_design(tmp_path: Path) -> None:
    names = set(by_name(any_fleet(tmp_path)))
    assert names == {"redis", "gateway", *DOMAINS, "worker-onnx", "worker-torch"}
    assert names - set(by_name(any_fleet(tmp_path, ("onnx",)))) == {"worker-torch"}


def test_redis_starts_first_and_the_gateway_stops_first(tmp_path: Path) -> None:
    processes = by_name(any_fleet(tmp_path))
    assert processes.pop("redis").tier is Tier.STORE
    assert processes.pop("gateway").tier is Tier.EDGE
    assert {each.tier for each in processes.values()} == {Tier.BACKEND}


def test_every_process_learns_where_the_others_are(tmp_path: Path) -> None:
    fleet = any_fleet(tmp_path)
    for name, process in by_name(fleet).items():
        if name == "redis":
            continue
        settings = {key: value for key, value in process.environment.items() if key.startswith("FACET_")}
        assert settings["FACET_REDIS_URL"] == fleet.redis_url
        assert settings["FACET_BLOB_URL"] == str(tmp_path / "blobs")
        for domain in DOMAINS:
            assert settings[f"FACET_{domain.upper()}_URL"] == fleet.service_urls[domain]
            assert fleet.service_urls[domain].endswith(":" + settings[f"FACET_{domain.upper()}_PORT"])


def test_only_the_gateway_listens_where_the_settings_say(tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", trusted_network=True)
    fleet = build_fleet(settings, Options(state=tmp_path, any_ports=True))
    hosts = {name: each.environment.get("FACET_HOST") for name, each in by_name(fleet).items()}
    assert hosts["gateway"] == "0.0.0.0"
    assert {hosts[domain] for domain in DOMAINS} == {"127.0.0.1"}
    assert fleet.url.startswith("http://127.0.0.1:")


def test_chosen_ports_are_kept_and_zero_means_any(tmp_path: Path) -> None:
    gateway, medical = free_ports(2)
    settings = Settings(
        gateway_port=gateway,
        medical_port=medical,
        generation_port=0,
        security_port=0,
        uncertainty_port=0,
        perception_port=0,
    )
    fleet = build_fleet(settings, Options(state=tmp_path))
    assert fleet.url == f"http://127.0.0.1:{gateway}"
    assert fleet.service_urls["medical"] == f"http://127.0.0.1:{medical}"
    assert len({*fleet.service_urls.values(), fleet.url}) == 6


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortsTaken, match=f"{port}.*FACET_GATEWAY_PORT"):
            build_fleet(Settings(gateway_port=port), Options(state=tmp_path))
    assert not (tmp_path / "redis").exists()


def test_a_second_fleet_needs_another_port_of_the_gateway_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain in DOMAINS:
        monkeypatch.delenv(f"FACET_{domain.upper()}_PORT", raising=False)
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in DOMAINS]
        taken = dict(zip(DOMAINS, (one.getsockname()[1] for one in servers), strict=True))
        monkeypatch.setattr(Settings, "service_port", lambda _, domain: taken[domain])
        fleet = build_fleet(Settings(gateway_port=0), Options(state=tmp_path))
        ports = {int(url.rpartition(":")[2]) for url in fleet.service_urls.values()}
        assert len(ports) == len(DOMAINS)
        assert not ports & set(taken.values())
        with pytest.raises(PortsTaken, match="FACET_MEDICAL_PORT"):
            build_fleet(Settings(gateway_port=0, medical_port=taken["medical"]), Options(state=tmp_path))


def test_a_redis_of_the_operator_must_answer(tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_ports(1)[0]}/0"
    with pytest.raises(RedisMissing, match="unset FACET_REDIS_URL") as caught:
        build_fleet(Settings(redis_url=url), Options(state=tmp_path, any_ports=True))
    assert "secret" not in str(caught.value)


def test_a_blob_store_of_the_operator_is_left_alone(tmp_path: Path) -> None:
    fleet = build_fleet(Settings(blob_url="s3://bucket/facet"), Options(state=tmp_path, any_ports=True))
    assert by_name(fleet)["medical"].environment["FACET_BLOB_URL"] == "s3://bucket/facet"
