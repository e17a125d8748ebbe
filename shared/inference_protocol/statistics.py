"""Statistics of models, in the words of Triton's statistics extension (docs/protocol/extension_statistics.md there)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from shared.telemetry.model_totals import BatchTotals, ModelTotals

_NS = 1_000_000_000


class Duration(BaseModel):
    """How often something was done, and how long that took in all."""

    count: int = Field(description="How often it was done")
    ns: int = Field(description="Nanoseconds that this took in all")

    @classmethod
    def of(cls, count: int, seconds: float = 0.0) -> Duration:
        """The duration of seconds."""
        return cls(count=count, ns=round(seconds * _NS))


class InferenceStatistics(BaseModel):
    """Of requests; all but `fail` are of those that succeeded."""

    success: Duration = Field(description="From the arrival of a request to the end of its answer")
    fail: Duration = Field(description="Requests that got as far as the model and were not answered by it")
    queue: Duration = Field(description="Waiting for a place in a batch")
    compute_input: Duration = Field(description="Reading and checking")
    compute_infer: Duration = Field(description="The runs of the batches that requests were part of")
    compute_output: Duration = Field(description="Writing")
    cache_hit: Duration = Field(description="Answered with the answer of an equal request before; not timed")
    cache_miss: Duration = Field(description="Not counted")


class BatchStatistics(BaseModel):
    """Of the runs with a number of rows. What is done for a request and not for a batch is not counted here."""

    batch_size: int = Field(description="Rows of the runs")
    compute_input: Duration = Field(default=Duration.of(0), description="Not counted by batch")
    compute_infer: Duration = Field(description="The runs themselves")
    compute_output: Duration = Field(default=Duration.of(0), description="Not counted by batch")


class ModelStatistics(BaseModel):
    """Of one version of a model, since its service began."""

    name: str = Field(description="Name of the model")
    version: str = Field(description="Version of the model")
    last_inference: int = Field(description="When the last request ended, in milliseconds since 1970; 0 without one")
    inference_count: int = Field(description="Rows that were computed")
    execution_count: int = Field(description="Runs of the model; batches make them fewer than rows")
    inference_stats: InferenceStatistics = Field(description="Of requests, by phase")
    batch_stats: list[BatchStatistics] = Field(description="Of runs, by their number of rows")


class StatisticsAnswer(BaseModel):
    """Statistics of one or several versions of models."""

    model_stats: list[ModelStatistics] = Field(description="One for each version of each model")


def statistics_of(
    name: str, version: str, requests: ModelTotals, batches: BatchTotals, *, remembered: int
) -> ModelStatistics:
    """The statistics of a version.

    Args:
        name: of the model.
        version: of the model.
        requests: what was asked of it.
        batches: what it ran.
        remembered: requests that were answered without a run.
    """
    return ModelStatistics(
        name=name,
        version=version,
        last_inference=round(requests.last * 1000),
        inference_count=sum(rows * runs for rows, runs in batches.runs.items()),
        execution_count=sum(batches.runs.values()),
        inference_stats=_of_requests(requests, remembered),
        batch_stats=_of_batches(batches),
    )


def _of_requests(requests: ModelTotals, remembered: int) -> InferenceStatistics:
    spent = {phase: Duration.of(requests.succeeded, seconds) for phase, seconds in requests.phases_s.items()}
    return InferenceStatistics(
        success=Duration.of(requests.succeeded, requests.succeeded_s),
        fail=Duration.of(requests.failed, requests.failed_s),
        queue=spent["queue"],
        compute_input=spent["pre"],
        compute_infer=spent["infer"],
        compute_output=spent["post"],
        cache_hit=Duration.of(remembered),
        cache_miss=Duration.of(0),
    )


def _of_batches(batches: BatchTotals) -> Sequence[BatchStatistics]:
    return [
        BatchStatistics(batch_size=rows, compute_infer=Duration.of(runs, batches.seconds[rows]))
        for rows, runs in sorted(batches.runs.items())
    ]
