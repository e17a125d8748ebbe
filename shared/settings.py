"""Every knob of Facet, read from the environment (`FACET_` prefix) or a `.env` file, in one place."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, SecretStr, StringConstraints, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Domain = Literal["medical", "generation", "security", "uncertainty", "perception"]

DOMAINS: tuple[Domain, ...] = ("medical", "generation", "security", "uncertainty", "perception")
"""The five services behind the gateway."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_NAME = rf"{_LABEL}(\.{_LABEL})*"
_PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?")

HostPattern = Annotated[str, StringConstraints(to_lower=True, pattern=rf"(?i)^(\*\.)?{_NAME}$")]
"""A host name without port, or `*.` and the name that all of them end in."""

CorsOrigin = Annotated[
    str, StringConstraints(to_lower=True, pattern=rf"(?i)^(\*|https?://({_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?)$")
]
"""What a browser sends as Origin: scheme, host and, unless it is the scheme's own, port; or `*`."""


class Settings(BaseSettings):
    """Settings of one process. The same object configures gateway, services and workers."""

    model_config = SettingsConfigDict(
        env_prefix="FACET_",
        env_file=".env",
        extra="ignore",
        use_attribute_docstrings=True,
        frozen=True,
        env_ignore_empty=True,
    )

    host: str = "127.0.0.1"
    """Address that the gateway listens on."""

    trusted_network: bool = False
    """Set by an operator who publishes the ports on a private network only: allows listening beyond loopback
    without API keys."""

    api_keys: bool = False
    """Ask every caller for an API key (`facet keys create`). Without, everybody is the caller `anonymous`, and the
    gateway listens on loopback only."""

    fleet_token: SecretStr | None = None
    """Secret that the gateway shows the services, which refuse whoever does not; without one, no process starts. `make
    run` draws one at each start."""

    quota_requests_per_minute: int = Field(default=600, ge=1)
    """Requests that run or write something, per owner of keys; reading has ten times as many."""

    quota_bytes_per_minute: int = Field(default=4 * 1024**3, ge=1)
    """Bytes of request bodies per owner of keys."""

    quota_jobs: int = Field(default=100, ge=1)
    """Unfinished jobs at once per owner of keys."""

    audit_entries: int = Field(default=100_000, ge=1)
    """Entries of the audit log that Redis keeps, about."""

    gateway_port: int = Field(default=8000, ge=0, le=65535)
    """Port of the gateway, the one public door."""

    medical_port: int = Field(default=8101, ge=0, le=65535)
    """Port of the medical service."""

    generation_port: int = Field(default=8102, ge=0, le=65535)
    """Port of the generation service."""

    security_port: int = Field(default=8103, ge=0, le=65535)
    """Port of the security service."""

    uncertainty_port: int = Field(default=8104, ge=0, le=65535)
    """Port of the uncertainty service."""

    perception_port: int = Field(default=8105, ge=0, le=65535)
    """Port of the perception service."""

    medical_url: str = "http://127.0.0.1:8101"
    """Where the gateway finds the medical service."""

    generation_url: str = "http://127.0.0.1:8102"
    """Where the gateway finds the generation service."""

    security_url: str = "http://127.0.0.1:8103"
    """Where the gateway finds the security service."""

    uncertainty_url: str = "http://127.0.0.1:8104"
    """Where the gateway finds the uncertainty service."""

    perception_url: str = "http://127.0.0.1:8105"
    """Where the gateway finds the perception service."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis that holds job records, event streams and Celery's queues. Must not evict keys."""

    blob_url: str = ".facet/blobs"
    """Folder or fsspec URL (s3://bucket/prefix) that holds uploads and results by their sha256."""

    models: Path | None = None
    """Folder `<domain>/<name>/<version>/` of models to serve instead of those released beside the code."""

    data: Path = Path("../shared/data")
    """Folder of the training and evaluation data; only training commands and data-dependent tests read it."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""

    tracing: Literal["off", "console", "otlp"] = "off"
    """Where OpenTelemetry traces go: `console` writes them to standard error, `otlp` to `tracing_endpoint`. Needs the
    packages of the extra `tracing`."""

    tracing_endpoint: str = "http://127.0.0.1:4318"
    """Receiver of traces by OTLP over HTTP, without the path /v1/traces."""

    tracing_sample: float = Field(default=1.0, ge=0, le=1)
    """Share of the requests that is traced, drawn at the gateway. A caller's sampled flag can take a request out of it,
    never put one in."""

    upload_limit_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Largest request body in bytes; more is answered with 413 while it streams in."""

    conformal_upload_limit_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    """Largest body in bytes of a request about a calibration or a risk: logits of 50,000 items for 1,000 classes are
    200 MB. Such files go to disk while they stream in."""

    conformal_values_limit: int = Field(default=50_000_000, gt=0)
    """Most numbers of one array that a calibration is made of, or asked about: items times classes."""

    conformal_resources_limit: int = Field(default=1000, ge=1)
    """Most calibrations, and most streams and monitors, that one owner keeps."""

    conformal_history: int = Field(default=1000, ge=1)
    """Newest observations of a stream or a monitor that are kept for its picture and for repeated requests."""

    head_limit_bytes: int = Field(default=64 * 1024, ge=1024, le=100 * 1024)
    """Most bytes of a request's address and header fields; more is answered with 431. The server itself answers heads
    over 128 KiB, in the same way."""

    head_fields_limit: int = Field(default=100, ge=1, le=100)
    """Most header fields of a request; more is answered with 431, beyond 100 by the server itself."""

    keep_alive_s: float = Field(default=75.0, ge=1)
    """Seconds that a connection may take until its next head is there in full: how long idle connections are kept, and
    how long half a head is waited for."""

    body_timeout_s: float = Field(default=20.0, gt=0)
    """Seconds without a further byte of a request's body, after which it is answered with 408 and closed."""

    body_least_bytes_per_s: int = Field(default=1024, ge=1)
    """Least rate at which a body must come on average, beyond `body_timeout_s`; slower ones are answered with 408."""

    send_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that a part of an answer waits for a caller who does not read; then its connection is closed."""

    spool_bytes: int = Field(default=1024 * 1024, ge=0, le=16 * 1024 * 1024)
    """Bytes of a request's body that the gateway holds in memory; larger bodies are held on disk."""

    held_limit_bytes: int = Field(default=128 * 1024 * 1024, ge=0)
    """Bytes of all requests' bodies that the gateway holds in memory at once; beyond, bodies are held on disk."""

    spool_limit_bytes: int = Field(default=8 * 1024**3, ge=0)
    """Bytes of all requests' bodies that the gateway holds on disk at once; further ones are answered with 503."""

    spool_folder: Path | None = None
    """Folder of bodies on disk; by default the system's for temporary files, which should not be memory (tmpfs)."""

    upload_files_limit: int = Field(default=256, gt=0)
    """Most files in one request."""

    pixel_limit: int = Field(default=16 * 1024 * 1024, gt=0)
    """Most pixels (array elements) of one decoded image or array, checked on its header before decoding."""

    inference_threads: int = Field(default=2, ge=1)
    """Threads that one ONNX session or one back-projection computes with."""

    inference_queue: int = Field(default=32, ge=1)
    """Requests that may wait for one model; further ones are answered with 503 and Retry-After."""

    batch_rows: int = Field(default=16, ge=1)
    """Most rows that one run of a batched model takes."""

    batch_queue: int = Field(default=256, ge=1)
    """Requests that may wait for one batched model; further ones are answered with 503 and Retry-After."""

    batch_tolerated_s: float = Field(default=2.0, gt=0)
    """Seconds from a request's arrival at a batched model to its answer; when they get more, fewer are let in and the
    others are answered with 503 and Retry-After."""
    model_limit_bytes: int = Field(default=40 * 1024 * 1024, gt=0)
    """Largest file of an uploaded model."""

    model_trial_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that an uploaded model may take to be opened and run on zeros; then it is refused."""

    model_trial_memory_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Memory of the process in which an uploaded model is tried."""

    models_poll_s: float = Field(default=0.5, gt=0)
    """Seconds between two looks of a service at what is to be served."""

    proxy_connect_timeout_s: float = Field(default=2.0, gt=0)
    """Seconds the gateway waits for a connection to a service."""

    proxy_read_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds the gateway waits between two parts of a service's answer."""

    job_retention_s: int = Field(default=24 * 3600, gt=0)
    """Seconds that a finished job and its events can be read; afterwards it answers 410."""

    tombstone_retention_s: int = Field(default=30 * 24 * 3600, gt=0)
    """Seconds that an expired job is remembered as gone (410) before its id becomes unknown (404)."""

    visibility_timeout_s: int = Field(default=3600, gt=0)
    """Seconds after which Redis hands an unacknowledged message to another worker; above every job's time limit."""

    longest_wait_s: int = Field(default=60, ge=0)
    """Upper end of `Prefer: wait=N`."""

    worker_heartbeat_s: float = Field(default=2.0, gt=0)
    """Seconds between two signs of life of a worker; it counts as gone after four missed ones."""

    worker_shutdown_grace_s: float = Field(default=20.0, gt=0)
    """Seconds that a worker which is told to stop gives its job to reach its next step; then it is cut off."""

    worker_stuck_after_s: float = Field(default=30.0, gt=0)
    """Seconds after which a worker that neither beats nor takes waiting messages ends itself, to be started again;
    not counted while Redis does not answer."""

    job_queue_timeout_s: int = Field(default=24 * 3600, gt=0)
    """Seconds that a job may wait for a worker; then it expires without having started."""

    idempotency_retention_s: int = Field(default=24 * 3600, gt=0)
    """Seconds that an Idempotency-Key is remembered, with its answer and the job that it created."""

    job_queue_limit: int | None = Field(default=None, ge=1)
    """Jobs of one kind that may wait at once, for every kind; by default each kind has a limit of its own."""

    dead_letter_retention_s: int = Field(default=7 * 24 * 3600, gt=0)
    """Seconds that a dead letter (a job that lost too many workers or was killed by its time limit) can be read and
    retried; at least as long as other finished jobs."""

    job_lost_workers_limit: int = Field(default=3, ge=1)
    """A job that has lost so many workers (killed, out of memory) fails instead of being tried again."""

    public_url: str = ""
    """Address that callers know the gateway by, such as https://example.org/facet. It goes before links in webhooks,
    which are paths without it; its path goes before every path that an answer names, and requests whose path begins
    with it are answered as if it were not there; its name is one that the gateway answers to."""

    webhook_allowed_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    """Networks, parted by commas, that webhooks may be sent to besides public addresses, there also by plain http."""

    webhook_limit: int = Field(default=16, ge=1)
    """Most webhooks of one owner."""

    webhook_timeout_s: float = Field(default=15.0, gt=0)
    """Seconds that one delivery may take from resolving the name to the end of the answer."""

    webhook_retry_schedule_s: Annotated[tuple[float, ...], NoDecode] = (5, 30, 120, 600, 1800, 7200, 18000, 36000)
    """Longest pauses in seconds, parted by commas, after the first failed try of a delivery, the second and so on;
    each is drawn between zero and this. After the last the delivery is given up."""

    webhook_disable_after_s: int = Field(default=5 * 24 * 3600, gt=0)
    """A webhook is disabled when everything sent to it has failed for so many seconds."""

    webhook_secret_overlap_s: int = Field(default=24 * 3600, ge=0)
    """Seconds that a replaced secret of a webhook still signs beside the new one."""

    webhook_deliveries_kept: int = Field(default=1000, ge=1)
    """Newest deliveries of a webhook that are kept; with more than this waiting, the oldest are dropped."""

    webhook_retention_s: int = Field(default=7 * 24 * 3600, gt=0)
    """Seconds that deliveries are kept; more than the whole schedule of retries."""

    webhook_slots: int = Field(default=4, ge=1)
    """Deliveries to one webhook at the same time, by all gateways together."""

    webhook_concurrency: int = Field(default=256, ge=1)
    """Deliveries of one gateway at the same time."""

    allowed_hosts: Annotated[tuple[HostPattern, ...], NoDecode] = ()
    """Names, parted by commas, that the gateway answers to without API keys, beside localhost, IP addresses and the
    name of `public_url`: `facet.internal`, or `*.example.org` for all names below one. Others are answered with 421,
    since any web page can point a name of its own at this machine (DNS rebinding)."""

    cors_origins: Annotated[tuple[CorsOrigin, ...], NoDecode] = ()
    """Origins, parted by commas, whose web pages may use the gateway from a browser (CORS), such as
    https://console.example.org; `*` stands for all. Without API keys, such pages may do everything."""

    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """Networks, parted by commas, of reverse proxies in front of the gateway, whose X-Forwarded-For,
    X-Forwarded-Proto and X-Forwarded-Prefix are believed. The proxy has to replace what callers send under these
    names."""

    event_link_s: int = Field(default=60, ge=5, le=3600)
    """Seconds in which a signed link to the events of a job can be opened, and opened again. A stream that was opened
    in time goes on."""

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        """It is taken apart for its name and its path, so it has to be a plain address."""
        if value and not _PUBLIC_URL.fullmatch(value):
            raise ValueError("an address such as https://example.org/facet is wanted, without query and fragment")
        return value.rstrip("/")

    @field_validator(
        "allowed_hosts",
        "cors_origins",
        "trusted_proxies",
        "webhook_allowed_networks",
        "webhook_retry_schedule_s",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        """From the environment, a list comes as one text."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    def body_limit(self, path: str) -> int:
        """Most bytes of the body of a request for a path; the same in the gateway and in the service behind it."""
        if path.startswith(("/v1/uncertainty/calibrations", "/v1/uncertainty/risk-controls")):
            return max(self.conformal_upload_limit_bytes, self.upload_limit_bytes)
        return self.upload_limit_bytes

    def service_url(self, domain: Domain) -> str:
        """Base URL of a domain's service."""
        url: str = getattr(self, f"{domain}_url")
        return url.rstrip("/")

    def models_folder(self, domain: Domain, *, beside: Path) -> Path:
        """Where a domain's models are: under `models` if that is set, else in the folder beside its code."""
        return beside if self.models is None else self.models / domain

    @property
    def worker_gone_after_s(self) -> float:
        """Seconds after which a silent worker, or a silent attempt of a job, counts as lost."""
        return 4 * self.worker_heartbeat_s

    def service_port(self, domain: Domain) -> int:
        """Port of a domain's service."""
        port: int = getattr(self, f"{domain}_port")
        return port


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
