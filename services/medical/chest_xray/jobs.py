"""The job of chest X-ray: films one by one, with progress, a preview of each and a checkpoint after it.

A film that cannot be read, or is refused, does not fail the series: its place in the result says why.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from pydantic import BaseModel, Field

from services.medical.chest_xray import answers
from services.medical.chest_xray.answers import Judged
from services.medical.chest_xray.film_reading import read_film
from services.medical.chest_xray.inference import read_film_blocking
from services.medical.chest_xray.models import ChestModel, read_model
from services.medical.chest_xray.prediction_sets import predict_by_job
from services.medical.chest_xray.schemas import DISCLAIMER, DiagnosisOptions, FilmDiagnosis
from services.medical.chest_xray.screening import Screening, require_passed
from services.medical.chest_xray.series import FilmSeries
from services.released import released_folders
from shared.fleet.artifacts import model_artifact
from shared.http.files import extension_of
from shared.http.negotiation import JSON, PNG
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles, StoredFile
from shared.problems import Conflict, Problem, ProblemDetails, UnprocessableContent
from shared.runtime.cards import ModelReference
from shared.runtime.inspection.preparation import TrialLimits, prepare
from shared.runtime.inspection.verification import inspect
from shared.runtime.models.sessions import OnnxModel
from shared.settings import get_settings


class FilmResult(BaseModel):
    """What became of one film."""

    index: int = Field(description="Place in the posted series, from 0")
    file: str | None = Field(default=None, description="Name of its file among the job's, unless JSON was asked for")
    diagnosis: FilmDiagnosis | None = Field(default=None, description="What the model says of it")
    problem: ProblemDetails | None = Field(default=None, description="Why there is none")


class FilmSeriesResult(BaseModel):
    """Result of a series."""

    films: list[FilmResult] = Field(default_factory=list)
    files: dict[str, StoredFile] = Field(default_factory=dict)
    model: ModelReference
    caveats: list[str] = Field(default_factory=list)
    disclaimer: str = DISCLAIMER


def diagnose_series(context: JobContext) -> dict[str, Any]:
    """Read each film of a series, going on where an earlier attempt stopped.

    Raises:
        UnprocessableContent: not one of the films could be read.
        Problem: the model is not there any more.
    """
    series = FilmSeries.model_validate(context.arguments)
    model = _open(series.model.name, series.model.version, series.model.weights_sha256)
    empty = {"model": series.model, "caveats": [*model.caveats, *answers.GENERAL_CAVEATS]}
    so_far = FilmSeriesResult.model_validate(context.restore() or empty)
    count = len(series.inputs)
    for index in range(len(so_far.films), count):
        context.progress(index, count, f"film {index + 1} of {count}")
        try:
            _add_film(context, so_far, series, model)
        except Problem as problem:
            so_far.films.append(FilmResult(index=index, problem=problem.details()))
        context.checkpoint(so_far.model_dump(mode="json"))
    context.progress(count, count, "packing")
    if all(one.diagnosis is None for one in so_far.films):
        first = cast("ProblemDetails", so_far.films[0].problem)
        raise UnprocessableContent(f"None of the {count} films could be read. The first: {first.detail}")
    if so_far.files:
        JobFiles.of(context, so_far.files).pack_zip("films.zip")
    return so_far.model_dump(mode="json")


@lru_cache(maxsize=2)
def _open(name: str, version: str, sha256: str) -> ChestModel:
    """A model, opened once by each worker process, after its fork.

    Raises:
        NotFound: it is no longer there.
        Conflict: there is another file in its place.
        ServiceUnavailable: its file cannot be read.
    """
    settings = get_settings()
    artifact = model_artifact(settings, released_folders(settings), name, version)
    if artifact.sha256 != sha256:
        raise Conflict(f"{name} {version} is another file than when the films were posted.")
    content = artifact.read()
    prepared = prepare(content, inspect(content), TrialLimits.of(settings))
    return read_model(OnnxModel(artifact.card, prepared, threads=settings.inference_threads))


def _add_film(context: JobContext, so_far: FilmSeriesResult, series: FilmSeries, model: ChestModel) -> None:
    """Read the next film and add it to the result.

    Raises:
        Problem: it cannot be read, is refused, or cannot be written as what was asked for; the result is as it was.
    """
    index, options = len(so_far.films), series.options
    pointer = f"/body/file/{index}"
    judged = _judge(context, context.blobs.get(series.inputs[index]), model, options, pointer)
    diagnosis = answers.describe_film(judged, index, options)
    name = None
    if series.media_type != JSON:
        content = answers.encode(judged, series.media_type, model, options)
        name = f"film-{index + 1:04d}.{extension_of(series.media_type)}"
        JobFiles.of(context, so_far.files).put(name, content, series.media_type)
    so_far.films.append(FilmResult(index=index, file=name, diagnosis=diagnosis))
    context.preview(answers.preview(judged, options), PNG)


def _judge(context: JobContext, data: bytes, model: ChestModel, options: DiagnosisOptions, pointer: str) -> Judged:
    settings = get_settings()
    film = read_film(data, pixel_limit=settings.pixel_limit, pointer=pointer)
    reading = read_film_blocking(film, film.prepare(model.role.size), model)
    screening = Screening.of(reading, model.role)
    if options.screen:
        require_passed([screening], [pointer])
    sets = predict_by_job([reading], options, model.reference, settings=settings, pause=context.pause)
    return Judged(reading, screening, sets[0] if sets else None)
