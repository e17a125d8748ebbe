"""The systems of the comparison: how each is started, where and in which form it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings import DOMAINS
from tests.benchmarks.serving import wire
from tests.benchmarks.serving.cases import Case, Route
from tests.benchmarks.serving.wire import Form

FLEET_TOKEN = "benchmark-" * 4
"""What the gateway shows the services, for those who ask a service without it."""

_SERVERS = "tests.benchmarks.serving.servers"


@dataclass(frozen=True, slots=True)
class System:
    """One server.

    Attributes:
        name: also of its environment and its file of requirements.
        setup: one line for the report.
        command: arguments after the environment's Python; `{port}` and `{state}` are filled in.
        forms: by route; a case by another route is not for it.
        paths: by route; `{model}` stands for the model's name.
        package: name on PyPI; empty for Facet.
        own: Facet in one of its forms, and no peer.
        product: False for what nobody would deploy and that only marks what is possible.
        grace_s: seconds to end by itself before it is killed.
        spinning: whether onnxruntime's threads spin while idle. It does so by default; all peers are faster without.
    """

    name: str
    setup: str
    command: tuple[str, ...]
    forms: Mapping[Route, Form]
    paths: Mapping[Route, str]
    package: str = ""
    own: bool = False
    product: bool = True
    grace_s: float = 3.0
    spinning: bool = False

    def takes(self, case: Case) -> bool:
        """Whether it has a form for the case."""
        return case.route in self.forms

    def url(self, case: Case, port: int) -> str:
        """Where a case is asked."""
        return f"http://127.0.0.1:{port}{self.paths[case.route].format(model=case.model)}"


@dataclass(frozen=True, slots=True)
class Start:
    """What starting a system takes beside the system itself."""

    models: Path
    """Folder that FACET_MODELS names."""
    state: Path
    """Folder for what the system writes."""
    threads: int
    """Of one run of a model."""


def environment_of(system: System, case: Case, ports: Sequence[int], start: Start) -> dict[str, str]:
    """Variables that Facet or a peer reads; Facet's services take whatever ports are free."""
    return {
        "FACET_MODELS": str(start.models.resolve()),
        "FACET_INFERENCE_THREADS": str(start.threads),
        "FACET_LOG_LEVEL": "WARNING",
        "FACET_FLEET_TOKEN": FLEET_TOKEN,
        **{f"FACET_{domain.upper()}_PORT": "0" for domain in DOMAINS},
        "BENCH_MODEL": str(case.file(start.models).resolve()),
        "BENCH_ROUTE": case.route,
        "BENCH_PORTS": ",".join(map(str, ports)),
        "BENCH_THREADS": str(start.threads),
        "BENCH_SPINNING": "1" if system.spinning else "0",
        "BENTOML_DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


_TRITON = Form(wire.binary_tensor, wire.read_binary_tensor)
_PLAIN = Form(wire.plain, wire.read_plain)
_BENTOML = Form(wire.plain, wire.read_rows)
_MLSERVER = Form(wire.base64_element, wire.read_protocol_json)
_POSTED = Form(wire.plain, wire.read_classification, wire.top_five)
_FORM = Form(wire.multipart("file", model="{model}"), wire.read_classification, wire.top_five)

_FLEET = (
    "-m",
    "deploy.local",
    "--port",
    "{port}",
    "--without-torch",
    "--state",
    "{state}",
    "--ready-file",
    "{state}/ready.json",
)

FACET = System(
    name="facet",
    setup="the whole fleet (Redis, gateway, five services, a worker), asked at the gateway, validation on; binary "
    "tensors, images as the body",
    command=_FLEET,
    forms={"tensor": _TRITON, "image": _POSTED},
    paths={"tensor": "/v2/models/{model}/infer", "image": "/v1/perception/classifications?model={model}"},
    own=True,
)

FACET_MULTIPART = System(
    name="facet-multipart",
    setup="the same, images as a form's file",
    command=_FLEET,
    forms={"image": _FORM},
    paths={"image": "/v1/perception/classifications"},
    own=True,
)


def _peer(name: str, setup: str, package: str, form: Form, path: str, **others: Any) -> System:
    """A system that takes tensors and images by the same form and path, served by `servers/<name>_server.py`."""
    command = others.pop("command", ("-m", f"{_SERVERS}.{name.replace('-', '_')}_server"))
    routes: tuple[Route, ...] = ("tensor", "image")
    return System(
        name, setup, command, dict.fromkeys(routes, form), dict.fromkeys(routes, path), package=package, **others
    )


SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        FACET,
        FACET_MULTIPART,
        _peer(
            "triton",
            "pytriton, Python backend, dynamic batching, binary tensors, images as BYTES",
            "nvidia-pytriton",
            _TRITON,
            "/v2/models/model/infer",
        ),
        _peer(
            "mlserver",
            "own runtime, adaptive batching, one process, BYTES in base64",
            "mlserver",
            _MLSERVER,
            "/v2/models/model/infer",
        ),
        _peer("litserve", "one worker, batching, fast queue, raw bytes", "litserve", _PLAIN, "/predict"),
        _peer(
            "bentoml",
            "one process, no batching, raw bytes",
            "bentoml",
            _BENTOML,
            "/classify",
            command=(
                "-m",
                "bentoml",
                "serve",
                f"{_SERVERS}.bentoml_server:Classifier",
                "--host",
                "127.0.0.1",
                "--port",
                "{port}",
            ),
        ),
        _peer("ray-serve", "one replica, serve.batch, raw bytes", "ray", _PLAIN, "/", grace_s=0.5),
        _peer(
            "plain-uvicorn",
            "reference: bare ASGI, no batching, no validation, raw bytes",
            "uvicorn",
            _PLAIN,
            "/",
            product=False,
        ),
    )
}
