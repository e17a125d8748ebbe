"""The job of a campaign: pictures, then networks one after another, with a checkpoint after each chunk, then files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.bit_error_campaigns.charts import bits_chart, curve_chart, layers_chart
from services.security.bit_error_campaigns.labelled_pictures import POINTER, LabelledPictures, read_labelled_pictures
from services.security.bit_error_campaigns.models import CampaignModel, read_model
from services.security.bit_error_campaigns.network_runs import NetworkRuns, Progress
from services.security.bit_error_campaigns.picture_inputs import PictureInput, picture_input
from services.security.bit_error_campaigns.plan import Condition, conditions
from services.security.bit_error_campaigns.report import Counts, DatasetUsed, Report, build_report
from services.security.bit_error_campaigns.report_page import report_page
from services.security.bit_error_campaigns.schemas import CampaignResult, CampaignTask, ExecutionUsed
from services.security.bit_error_campaigns.settings import CampaignSettings
from services.security.bit_errors.perturbed_sessions import (
    PerturbedClassifier,
    Signature,
    Way,
    WayTiming,
    choose_way,
    open_classifier,
    time_way,
)
from services.security.bit_errors.weight_memory import UnreadableMemory, WeightMemory, read_stated
from shared.http.negotiation import HTML, JSON, PNG
from shared.imaging.charts import to_png
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles
from shared.problems import Problem, UnprocessableContent, field_problem
from shared.runtime.inspection.failure_reasons import reason_of
from shared.settings import get_settings

_PREVIEW_S: Final = 5.0
"""Least seconds between two pictures of the curve so far."""

WAYS: Final = cast("tuple[Way, ...]", get_args(Way))


@dataclass(frozen=True, slots=True)
class _Campaign:
    """What a job works with."""

    task: CampaignTask
    model: CampaignModel
    memory: WeightMemory
    input: PictureInput
    pictures: LabelledPictures
    conditions: Sequence[Condition]

    @property
    def title(self) -> str:
        used = self.task.model
        return f"{used.name} {used.version}" if used.version else "a posted model"


def run_campaign(context: JobContext) -> dict[str, Any]:
    """Run a campaign, from where the last attempt was.

    Raises:
        Problem: the model or a picture cannot be read, or the model fails on them.
    """
    campaign = _read(context)
    arrays = _decode(context, campaign)
    campaign = replace(campaign, pictures=campaign.pictures.without_content())
    try:
        progress, classifier = _begin(context, campaign, arrays)
        _evaluate(context, campaign, arrays, progress, classifier)
    except Exception as error:
        if not _is_of_onnxruntime(error):
            raise
        raise UnprocessableContent(f"The model fails on these pictures: {reason_of(error)}.") from error
    return _result(context, campaign, progress)


def _is_of_onnxruntime(error: Exception) -> bool:
    """Its failures have types of their own, with no base but Exception."""
    return type(error).__module__.startswith("onnxruntime")


def _read(context: JobContext) -> _Campaign:
    task, settings = CampaignTask.model_validate(context.arguments), get_settings()
    model = read_model(task, settings, context.blobs)
    try:
        memory = WeightMemory.read(model.content)
    except UnreadableMemory as error:
        raise field_problem(f"/body/{model.field}", f"No campaign can be run on this model: {error}.") from None
    pictures = read_labelled_pictures(
        context.blobs.get(task.dataset),
        classes=task.facts.classes,
        names=model.parameters.classes,
        pictures_limit=CampaignSettings().pictures_limit,
    ).sample(task.options.images)
    taken = picture_input(task.facts.dtype, task.facts.shape, model.parameters)
    return _Campaign(
        task, model, memory, taken, pictures, conditions(task.options, [one.layer for one in memory.tensors])
    )


def _decode(context: JobContext, campaign: _Campaign) -> NDArray[Any]:
    """All pictures as the network takes them: (pictures, ...)."""
    entries, limit = campaign.pictures.entries, get_settings().pixel_limit
    arrays = np.empty((len(entries), *campaign.input.shape), campaign.input.dtype)
    for index, entry in enumerate(entries):
        context.raise_if_cancelled()
        try:
            arrays[index] = campaign.input.read(entry.data, pixel_limit=limit, pointer=POINTER)
        except Problem as problem:
            raise type(problem)(f"The picture {entry.name!r}: {problem.detail}", errors=problem.errors) from None
    return arrays


def _begin(context: JobContext, campaign: _Campaign, arrays: NDArray[Any]) -> tuple[Progress, PerturbedClassifier]:
    """What was recorded, or nothing yet but the way that is the quicker one here."""
    saved = context.restore()
    if saved is not None:
        progress = Progress.model_validate(saved)
        return progress, _open(campaign, cast("Way", progress.way))
    wanted = campaign.task.options.execution
    batches, rows = len(arrays) / campaign.input.batch_size, _rows(campaign, arrays)
    timings: dict[Way, WayTiming] = {}
    for way in WAYS if wanted == "auto" else (wanted,):
        context.progress(0, len(campaign.conditions) * len(arrays), f"timing {way.replace('_', ' ')}")
        try:
            timings[way] = time_way(_open(campaign, way), campaign.memory, rows, pause=context.raise_if_cancelled)
        except Exception as error:
            # Some operators take no weights but constants; where there is another way, it is taken.
            if not timings or not _is_of_onnxruntime(error):
                raise
    way = choose_way(timings, batches=batches)
    seconds = {name: timing.network_s(batches) for name, timing in timings.items()}
    progress = Progress(way=way, network_s=seconds, pictures=len(arrays))
    return progress, _open(campaign, way)


def _rows(campaign: _Campaign, arrays: NDArray[Any]) -> NDArray[Any]:
    """A batch of the pictures; repeated where there are too few for the graph."""
    size = campaign.input.batch_size
    if campaign.input.batch is None or len(arrays) >= size:
        return arrays[:size]
    return np.resize(arrays, (size, *arrays.shape[1:]))


def _open(campaign: _Campaign, way: Way) -> PerturbedClassifier:
    facts = campaign.task.facts
    signature = Signature(facts.input, facts.output)
    threads = get_settings().inference_threads
    return open_classifier(way, campaign.model.content, campaign.memory, signature, threads=threads)


def _evaluate(
    context: JobContext,
    campaign: _Campaign,
    arrays: NDArray[Any],
    progress: Progress,
    classifier: PerturbedClassifier,
) -> None:
    options = campaign.task.options
    runs = NetworkRuns(
        campaign.conditions,
        campaign.memory,
        read_stated(campaign.model.content),
        classifier,
        arrays,
        campaign.pictures.labels,
        batch=campaign.input.batch_size,
        fixed=campaign.input.batch is not None,
        kind=options.fault,
        layout=options.layout,
    )
    total, preview = runs.evaluations, _Preview(context, campaign, progress)

    def pause(condition: Condition) -> None:
        context.progress(progress.evaluated, total, str(condition))

    for _ in runs.run(progress, attempt=context.attempt, pause=pause):
        context.checkpoint(progress.model_dump(mode="json"))
        preview.show()
    context.progress(total, total, "writing the report")


class _Preview:
    """Shows the curve so far, now and then."""

    def __init__(self, context: JobContext, campaign: _Campaign, progress: Progress) -> None:
        self._context, self._campaign, self._progress = context, campaign, progress
        self._shown_s, self._shown_conditions = float("-inf"), 0

    def show(self) -> None:
        """A picture, if there is something new and the last one is old enough."""
        now_s, complete = time.monotonic(), self._progress.condition
        if now_s - self._shown_s < _PREVIEW_S or complete == self._shown_conditions:
            return
        counts = Counts(self._campaign.conditions, self._progress)
        points = counts.curve(self._campaign.task.options.rates)
        if not points:
            return
        self._shown_s, self._shown_conditions = now_s, complete
        chart = curve_chart(
            points, stored=counts.accuracy(1).accuracy, title=f"Accuracy of {self._campaign.title}, so far"
        )
        self._context.preview(to_png(chart), PNG)


def _result(context: JobContext, campaign: _Campaign, progress: Progress) -> dict[str, Any]:
    report = build_report(
        Counts(campaign.conditions, progress),
        campaign.memory,
        options=campaign.task.options,
        model=campaign.task.model,
        dataset=_dataset(campaign),
    )
    files = JobFiles.of(context)
    _write_files(files, report, campaign.title)
    execution = ExecutionUsed(
        way=progress.way,
        network_s={name: round(seconds, 6) for name, seconds in progress.network_s.items()},
        evaluations_by_attempt=progress.by_attempt,
        seconds=round(progress.seconds, 3),
        evaluations_per_s=round(progress.evaluated / max(progress.seconds, 1e-9), 1),
    )
    result = CampaignResult(report=report.model_dump(mode="json"), execution=execution, files=files.files)
    return result.as_json()


def _dataset(campaign: _Campaign) -> DatasetUsed:
    pictures = campaign.pictures
    return DatasetUsed(
        images=len(pictures.labels),
        posted=pictures.posted,
        classes=campaign.task.facts.classes,
        classes_seen=len(np.unique(pictures.labels)),
        labels_by=pictures.labels_by,
        sha256=campaign.task.dataset.removeprefix("sha256:"),
    )


def _write_files(files: JobFiles, report: Report, title: str) -> None:
    """report.json, the charts that the analyses give, and the page that has them all."""
    rate = report.options.analysis_rate
    stored = report.stored.accuracy
    curve = (
        curve_chart(report.curve, stored=stored, title=f"Accuracy of {title} under bit errors")
        if report.curve
        else None
    )
    layers = layers_chart(report.layers, rate=rate) if report.layers else None
    bits = bits_chart(report.bits, rate=rate) if report.bits else None
    content = orjson.dumps(report.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
    files.put("report.json", content, JSON)
    files.put("report.html", report_page(report, curve=curve, layers=layers, bits=bits), HTML)
    for name, chart in (("curve.png", curve), ("layers.png", layers), ("bits.png", bits)):
        if chart is not None:
            files.put(name, to_png(chart), PNG)
