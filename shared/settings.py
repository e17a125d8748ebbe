"""The settings of the fleet, read from the environment (`FACET_` prefix) or `.env`; capabilities add their own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.edge_settings import EdgeSettings, EnvironmentSettings, split_list

Domain = Literal["medical", "generation", "security", "uncertainty", "perception"]

DOMAINS: tuple[Domain, ...] = ("medical", "generation", "security", "uncertainty", "perception")
"""The five services behind the gateway."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class CapabilitySettings(EnvironmentSettings):
    """Base of the settings that a capability has of its own; a subclass sets `env_prefix` (`FACET_<NAME>_`)."""


class Settings(EdgeSettings):
    """Settings of one process. The same object configures gateway, services and workers."""

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

    gateway_port: int = Field(default=8000, ge=0, le=65535)
    """Port of the gateway, the public endpoint."""

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

    @field_validator("webhook_allowed_networks", "webhook_retry_schedule_s", mode="before")
    @classmethod
    def _split_webhook_lists(cls, value: object) -> object:
        return split_list(value)

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
