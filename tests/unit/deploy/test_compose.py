"""docker-compose.yml starts the processes of `make run`, with settings that exist and no more rights than needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deploy.commands import HTTP_PROCESSES, WEIGHT_BY_WORKER
from shared.settings import DOMAINS, Settings
from tests.support.addresses import NOWHERE

yaml: Any = pytest.importorskip("yaml")

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROCESSES = [*HTTP_PROCESSES, *WEIGHT_BY_WORKER]


def test_it_holds_every_process() -> None:
    assert set(SERVICES) == {"redis", *PROCESSES}


@pytest.mark.parametrize("name", PROCESSES)
def test_settings_exist_and_hold_valid_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(SERVICES[name]["environment"])
    assert environment.pop("FACET_PROCESS") == name
    assert {variable.removeprefix("FACET_").lower() for variable in environment} <= set(Settings.model_fields)
    for variable in NOWHERE:
        monkeypatch.delenv(variable)
    for variable, value in environment.items():
        # As if the operator set nothing but what has to be set.
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:[-?](.*)\}", r"\1", value))
    settings = Settings()
    for domain in DOMAINS:
        assert settings.service_url(domain) == f"http://{domain}:{settings.service_port(domain)}"


@pytest.mark.parametrize("name", SERVICES)
def test_containers_have_no_rights_to_spare(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


@pytest.mark.parametrize("name", SERVICES)
def test_containers_have_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["pids_limit"] <= 512
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert name == "redis" or service["mem_limit"]


@pytest.mark.parametrize("name", PROCESSES)
def test_large_bodies_lie_on_a_volume(name: str) -> None:
    dockerfile = (Path(__file__).parents[3] / "deploy" / "Dockerfile").read_text()
    folder = re.search(r"TMPDIR=(\S+)", dockerfile)
    assert folder is not None
    assert f"spool:{folder[1]}" in SERVICES[name]["volumes"]


def test_one_sick_service_keeps_the_gateway_open() -> None:
    conditions = {one: need["condition"] for one, need in SERVICES["gateway"]["depends_on"].items()}
    assert conditions == {"redis": "service_healthy"} | dict.fromkeys(DOMAINS, "service_started")


def test_only_the_gateways_loopback_port_is_open() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gateway"}
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["gateway"]["ports"])
    assert {name for name, service in SERVICES.items() if service["networks"] != ["inside"]} == {"gateway"}
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_only_the_torch_worker_has_the_torch_image() -> None:
    assert {name for name, service in SERVICES.items() if service["image"] == "facet:torch"} == {"worker-torch"}


def test_only_who_does_medical_work_has_the_medical_image() -> None:
    assert {name for name, service in SERVICES.items() if service["image"] == "facet:medical"} == {
        "medical",
        "worker-onnx",
    }


def test_redis_keeps_its_data() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]
