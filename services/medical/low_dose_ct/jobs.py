"""The jobs of low-dose CT: a series, slice by slice, with progress, a preview of each slice and a checkpoint after it.

A slice that cannot be read does not fail the series: its place in the result says what is wrong with it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, Field
from pydicom.uid import generate_uid
from shared.jobs.context import JobContext

from services.medical.low_dose_ct import answers
from services.medical.low_dose_ct.inference import Enhanced, denoise, reconstruct
from services.medical.low_dose_ct.inputs import read_sinogram, read_slice
from services.medical.low_dose_ct.schemas import DISCLAIMER, Statistics
from services.medical.low_dose_ct.series import EnhancementSeries, ReconstructionSeries
from shared.http.files import EXTENSIONS
from shared.http.negotiation import PNG, ZIP
from shared.imaging.dicom import CtSlice
from shared.imaging.windows import parse_window
from shared.problems import Problem, ProblemDetails, UnprocessableContent
from shared.runtime.cards import ModelReference
from shared.runtime.registry import newest_folder
from shared.runtime.sessions import OnnxModel
from shared.settings import get_settings

MODELS = Path(__file__).parents[1] / "models"

Work = Callable[[bytes, str], tuple[Enhanced, bytes]]
"""Content of a posted file and its pointer in; the result and its encoded answer out."""


class StoredFile(BaseModel):
    """A file that the job made; served at /v1/jobs/{id}/files/{name}."""

    digest: str
    media_type: str
    size: int


class SliceResult(BaseModel):
    """What became of one slice."""

    index: int = Field(description="Place in the posted series, from 0")
    file: str | None = Field(default=None, description="Name of the slice among the job's files")
    before: Statistics | None = None
    after: Statistics | None = None
    problem: ProblemDetails | None = Field(default=None, description="Why this slice could not be worked on")


class SeriesResult(BaseModel):
    """Result of a series."""

    slices: list[SliceResult] = Field(default_factory=list)
    files: dict[str, StoredFile] = Field(default_factory=dict)
    model: ModelReference | None = None
    disclaimer: str = DISCLAIMER


@lru_cache(maxsize=4)
def _model(name: str) -> OnnxModel:
    """The model, opened once per worker process (after its fork)."""
    return OnnxModel.open(newest_folder(MODELS, name), threads=get_settings().inference_threads)


def enhance_series(context: JobContext) -> dict[str, Any]:
    """Enhance each slice of a series."""
    series = EnhancementSeries.model_validate(context.arguments)
    options, model = series.options, _model(series.options.model)
    window = parse_window(options.window, pointer="/body/window")

    def work(data: bytes, pointer: str) -> tuple[Enhanced, bytes]:
        limit = get_settings().pixel_limit
        posted = read_slice(data, unit=options.unit, window=window, pixel_limit=limit, pointer=pointer)
        result = denoise(posted.attenuation, model, options.noise_level)
        uid = None if posted.source is None else _series_uid(context.job_id, posted.source)
        encoded = answers.encode(
            result, series.media_type, unit=options.unit, window=window, source=posted.source, series_uid=uid
        )
        return result, encoded

    return _work_through(context, series.inputs, series.media_type, options.window, work)


def reconstruct_series(context: JobContext) -> dict[str, Any]:
    """Reconstruct each sinogram of a series."""
    series = ReconstructionSeries.model_validate(context.arguments)
    options = series.options
    model = _model(options.model) if options.denoise else None
    window = parse_window(options.window, pointer="/body/window")

    def work(data: bytes, pointer: str) -> tuple[Enhanced, bytes]:
        settings = get_settings()
        sinogram = read_sinogram(
            data, options.geometry, unit=options.sinogram_unit, pixel_limit=settings.pixel_limit, pointer=pointer
        )
        result = reconstruct(sinogram, options, model, threads=settings.inference_threads)
        encoded = answers.encode(
            result,
            series.media_type,
            unit=options.unit,
            window=window,
            pixel_size_mm=options.geometry.pixel_size * 1000,
            series_uid=_series_uid(context.job_id),
        )
        return result, encoded

    return _work_through(context, series.inputs, series.media_type, options.window, work)


def _work_through(context: JobContext, inputs: list[str], media_type: str, window: str, work: Work) -> dict[str, Any]:
    """Work on the inputs one by one, going on where an earlier attempt stopped.

    Raises:
        UnprocessableContent: not one of the slices could be worked on.
    """
    so_far = SeriesResult.model_validate(context.restore() or {})
    shown = parse_window(window, pointer="/body/window")
    for index in range(len(so_far.slices), len(inputs)):
        context.progress(index, len(inputs), f"slice {index + 1} of {len(inputs)}")
        try:
            result, encoded = work(context.blobs.get(inputs[index]), f"/body/file/{index}")
        except Problem as problem:
            so_far.slices.append(SliceResult(index=index, problem=problem.details()))
        else:
            name = f"slice-{index + 1:04d}.{EXTENSIONS[media_type]}"
            so_far.files[name] = _store(context, encoded, media_type)
            so_far.model = result.model
            so_far.slices.append(
                SliceResult(
                    index=index,
                    file=name,
                    before=answers.statistics(result.before),
                    after=answers.statistics(result.after),
                )
            )
            context.preview(answers.encode(result, PNG, unit="hu", window=shown), PNG)
        context.checkpoint(so_far.model_dump(mode="json"))
    context.progress(len(inputs), len(inputs), "packing")
    if not so_far.files:
        first = cast("ProblemDetails", so_far.slices[0].problem)
        raise UnprocessableContent(f"None of the {len(inputs)} slices could be worked on. The first: {first.detail}")
    so_far.files["series.zip"] = _store(context, _pack(context, so_far.files), ZIP)
    return so_far.model_dump(mode="json")


def _series_uid(job_id: str, source: CtSlice | None = None) -> str:
    """The series that a job makes of a source series; the same in every attempt of the job."""
    series = "" if source is None else str(source.dataset.get("SeriesInstanceUID", ""))
    return str(generate_uid(prefix=None, entropy_srcs=[job_id, series]))


def _store(context: JobContext, content: bytes, media_type: str) -> StoredFile:
    blob = context.blobs.put(content, media_type)
    return StoredFile(digest=blob.digest, media_type=media_type, size=blob.size)


def _pack(context: JobContext, files: dict[str, StoredFile]) -> bytes:
    """All files in one ZIP, stored with a fixed date so that a repeated attempt makes the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files.items():
            archive.writestr(zipfile.ZipInfo(name), context.blobs.get(file.digest), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
