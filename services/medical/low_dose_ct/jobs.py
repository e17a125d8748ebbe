"""The jobs of low-dose CT: a series, slice by slice, with progress, a preview of each slice and a checkpoint after it.

A slice that cannot be read does not fail the series: its place in the result says what is wrong with it.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Any, cast

from pydantic import BaseModel, Field

from services.medical.low_dose_ct import answers
from services.medical.low_dose_ct.pipelines import EnhancementPipeline, Pipeline, ReconstructionPipeline
from services.medical.low_dose_ct.released import open_model
from services.medical.low_dose_ct.schemas import DISCLAIMER, Statistics
from services.medical.low_dose_ct.series import EnhancementSeries, ReconstructionSeries
from shared.http.files import extension_of
from shared.http.negotiation import PNG
from shared.imaging.dicom import CtSlice
from shared.imaging.dicom_elements import uid
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles, StoredFile
from shared.problems import Problem, ProblemDetails, UnprocessableContent
from shared.runtime.cards import ModelReference
from shared.settings import get_settings


class SliceResult(BaseModel):
    """What became of one slice."""

    index: int = Field(description="Place in the posted series, from 0")
    file: str | None = Field(default=None, description="Name of the slice among the job's files")
    before: Statistics | None = None
    after: Statistics | None = None
    caveats: list[str] = Field(default=[], description="What is to be known of this slice besides")
    problem: ProblemDetails | None = Field(default=None, description="Why this slice could not be worked on")


class SeriesResult(BaseModel):
    """Result of a series."""

    slices: list[SliceResult] = Field(default_factory=list)
    files: dict[str, StoredFile] = Field(default_factory=dict)
    model: ModelReference | None = None
    disclaimer: str = DISCLAIMER


_model = lru_cache(maxsize=4)(open_model)
"""Opens a model once per worker process, after its fork."""


def enhance_series(context: JobContext) -> dict[str, Any]:
    """Enhance each slice of a series."""
    series = EnhancementSeries.model_validate(context.arguments)
    options = series.options
    pipeline = EnhancementPipeline(options, _model(options.model), get_settings().pixel_limit)
    return _work_through(context, series.inputs, series.media_type, pipeline)


def reconstruct_series(context: JobContext) -> dict[str, Any]:
    """Reconstruct each sinogram of a series."""
    series = ReconstructionSeries.model_validate(context.arguments)
    options, settings = series.options, get_settings()
    model = _model(options.model) if options.denoise else None
    pipeline = ReconstructionPipeline(options, model, settings.pixel_limit, settings.inference_threads)
    return _work_through(context, series.inputs, series.media_type, pipeline)


def _work_through(context: JobContext, inputs: list[str], media_type: str, pipeline: Pipeline) -> dict[str, Any]:
    """Work on the inputs one by one, going on where an earlier attempt stopped.

    Raises:
        UnprocessableContent: not one of the slices could be worked on.
    """
    so_far = SeriesResult.model_validate(context.restore() or {})
    for index in range(len(so_far.slices), len(inputs)):
        context.progress(index, len(inputs), f"slice {index + 1} of {len(inputs)}")
        try:
            _add_slice(context, so_far, inputs[index], media_type, pipeline)
        except Problem as problem:
            so_far.slices.append(SliceResult(index=index, problem=problem.details()))
        context.checkpoint(so_far.model_dump(mode="json"))
    context.progress(len(inputs), len(inputs), "packing")
    if not so_far.files:
        first = cast("ProblemDetails", so_far.slices[0].problem)
        raise UnprocessableContent(f"None of the {len(inputs)} slices could be worked on. The first: {first.detail}")
    JobFiles.of(context, so_far.files).pack_zip("series.zip")
    return so_far.model_dump(mode="json")


def _add_slice(context: JobContext, so_far: SeriesResult, digest: str, media_type: str, pipeline: Pipeline) -> None:
    """Work on the next slice, add it to the result and show a preview of it.

    Raises:
        Problem: it cannot be read, or not be written as what was asked for; the result is as it was.
    """
    index = len(so_far.slices)
    data, pause = context.blobs.get(digest), context.raise_if_cancelled
    processed = pipeline.process(data, pointer=f"/body/file/{index}", pause=pause)
    result, source = processed.result, processed.decoded.source
    place = _place(context.job_id, source, index, pipeline.options.slice_distance_mm)
    encoded, preview = pipeline.encode(processed, media_type, place=place), pipeline.encode(processed, PNG)
    before, after = answers.statistics(result.before), answers.statistics(result.after)
    name = f"slice-{index + 1:04d}.{extension_of(media_type)}"
    JobFiles.of(context, so_far.files).put(name, encoded, media_type)
    so_far.model = result.model
    caveats = answers.warnings(result)
    so_far.slices.append(SliceResult(index=index, file=name, before=before, after=after, caveats=caveats))
    context.preview(preview, PNG)


def _place(job_id: str, source: CtSlice | None, index: int, distance_mm: float | None) -> answers.Place:
    """Slice `index` in the series that a job makes of a source series; the same in every attempt of the job."""
    series = "" if source is None else uid(source.dataset, "SeriesInstanceUID") or ""
    uids = _uid(job_id, "series", series), _uid(job_id, "study"), _uid(job_id, "frame")
    return answers.Place(*uids, index + 1, distance_mm)


def _uid(*parts: str) -> str:
    """A UID that follows from its parts: a UUID of version 5 as a decimal number (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(('facet', *parts))).int}"
