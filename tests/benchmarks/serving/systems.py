"""The systems of the comparison: how each is started, where and in which form it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.settings import DOMAINS
from tests.benchmarks.serving import wire
from tests.benchmarks.serving.cases import Case, Route
from tests.benchmarks.serving.wire import Form

_SERVERS = "tests.benchmarks.serving.servers"


@dataclass(frozen=True, slots=True)
class System:
    """One server.

    Attributes:
        name: also of its environment and its file of requirements.
        setup: one line for the report.
        command: arguments after the environment's Python; `{port}` and `{state}` are filled in.
        forms: by route.
        paths: by route; `{model}` stands for the model's name.
        product: False for what nobody would deploy and that only marks what is possible.
        grace_s: seconds to end by itself before it is killed.
        spinning: whether onnxruntime's threads spin while idle. It does so by default; all peers are faster without.
    """

    name: str
    setup: str
    command: tuple[str, ...]
    forms: Mapping[Route, Form]
    paths: Mapping[Route, str]
    product: bool = True
    grace_s: float = 3.0
    spinning: bool = False

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
_LITSERVE = Form(wire.multipart("request"), wire.read_rows)
_BENTOML = Form(wire.plain, wire.read_rows)
_MLSERVER = Form(wire.base64_element, wire.read_protocol_json)
_SIGNS = Form(wire.multipart("file", model="traffic-signs"), wire.read_classification, wire.top_five)

FACET = System(
    name="facet",
    setup="the whole fleet (Redis, gateway, five services, a worker), asked at the gateway, validation on",
    command=(
        "-m",
        "deploy.local",
        "--port",
        "{port}",
        "--without-torch",
        "--state",
        "{state}",
        "--ready-file",
        "{state}/ready.json",
    ),
    forms={"tensor": _TRITON, "png": _SIGNS},
    paths={"tensor": "/v2/models/{model}/infer", "png": "/v1/perception/classifications"},
    grace_s=30.0,
)


def _both(path: str) -> dict[Route, str]:
    return {"tensor": path, "png": path}


SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        FACET,
        System(
            name="triton",
            setup="pytriton, Python backend, dynamic batching, binary tensors",
            command=("-m", f"{_SERVERS}.triton_server"),
            forms={"tensor": _TRITON, "png": _TRITON},
            paths=_both("/v2/models/model/infer"),
        ),
        System(
            name="mlserver",
            setup="own runtime, adaptive batching, one process, BYTES in base64",
            command=("-m", f"{_SERVERS}.mlserver_server"),
            forms={"tensor": _MLSERVER, "png": _MLSERVER},
            paths=_both("/v2/models/model/infer"),
        ),
        System(
            name="litserve",
            setup="one worker, batching, fast queue, multipart",
            command=("-m", f"{_SERVERS}.litserve_server"),
            forms={"tensor": _LITSERVE, "png": _LITSERVE},
            paths=_both("/predict"),
        ),
        System(
            name="bentoml",
            setup="one process, no batching, raw bytes",
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
            forms={"tensor": _BENTOML, "png": _BENTOML},
            paths={"tensor": "/tensor", "png": "/png"},
        ),
        System(
            name="ray-serve",
            setup="one replica, serve.batch, raw bytes",
            command=("-m", f"{_SERVERS}.ray_server"),
            forms={"tensor": _PLAIN, "png": _PLAIN},
            paths=_both("/"),
            grace_s=0.5,
        ),
        System(
            name="plain-uvicorn",
            setup="reference: bare ASGI, no batching, no validation, raw bytes",
            command=("-m", f"{_SERVERS}.uvicorn_server"),
            forms={"tensor": _PLAIN, "png": _PLAIN},
            paths=_both("/"),
            product=False,
        ),
    )
}
