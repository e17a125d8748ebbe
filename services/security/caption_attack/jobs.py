"""The job of an attack: pictures, then runs one after another, then the report; of what there is when it is stopped."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson

from services.security.caption_attack.attack import Advance, Attack, Picture
from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.campaigns.runs import runs_of
from services.security.caption_attack.pictures.distances import decode_png, difference_picture
from services.security.caption_attack.pictures.posted_pictures import read_attacked_picture
from services.security.caption_attack.reporting.advice import advise
from services.security.caption_attack.reporting.charts import attention_picture, compare_side_by_side, curve_chart
from services.security.caption_attack.reporting.report import AttackReport, TargetView, build_report
from services.security.caption_attack.reporting.report_page import report_page
from services.security.caption_attack.schemas import AttackResult, AttackTask
from services.security.caption_attack.settings import CaptionAttackSettings
from services.security.caption_attack.targets import open_target, registered_endpoint
from shared.http.negotiation import HTML, JSON, PNG
from shared.imaging.charts import to_png
from shared.imaging.pictures import encode_png
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles
from shared.jobs.interrupts import JobCancelled
from shared.problems import BadGateway, GatewayTimeout, ServiceUnavailable
from shared.settings import get_settings

_PREVIEW_S: Final = 3.0
"""Least seconds between two pictures of what there is so far."""


def run_attack(context: JobContext) -> dict[str, Any]:
    """Run an attack, from where the last attempt was.

    Raises:
        JobCancelled: with the report of what was found until then, if anything was.
        Problem: the captioner cannot be asked, and was not asked before.
    """
    task, limits = AttackTask.model_validate(context.arguments), CaptionAttackSettings()
    options = task.options
    pictures = _read_pictures(context, task)
    attack = Attack(
        options,
        pictures,
        context.blobs,
        limit=task.budget,
        seconds=limits.seconds_limit,
        save=context.checkpoint,
        show=_Shown(context, total=len(runs_of(options, len(pictures))) * options.queries),
        saved=context.restore(),
    )
    try:
        with open_target(
            options,
            get_settings(),
            limits,
            attack.budget,
            pictures=len(pictures),
            watch=context.raise_if_cancelled,
            pause=context.pause,
        ) as target:
            attack.run(target)
    except JobCancelled:
        if not attack.findings():
            raise
        attack.stopped = "It was cancelled."
        raise JobCancelled(result=_result(context, task, attack, pictures)) from None
    except (BadGateway, GatewayTimeout, ServiceUnavailable) as problem:
        if not attack.findings():
            raise
        attack.stopped = f"The captioner did not answer any more: {problem.detail}"
    return _result(context, task, attack, pictures)


def _read_pictures(context: JobContext, task: AttackTask) -> list[Picture]:
    side, limit = task.options.longest_side, get_settings().pixel_limit
    return [
        read_attacked_picture(
            context.blobs.get(digest), longest_side=side, pixel_limit=limit, pointer=f"/body/file/{index}"
        )
        for index, digest in enumerate(task.pictures)
    ]


class _Shown:
    """Says how far an attack is, and shows a picture of the run under way now and then."""

    def __init__(self, context: JobContext, *, total: int) -> None:
        self._context, self._total, self._shown_s, self._score = context, total, float("-inf"), 1.0

    def __call__(self, advance: Advance) -> None:
        run, campaign = advance.run, advance.campaign
        best = campaign.best_score
        self._context.progress(
            min(advance.done, self._total),
            self._total,
            f"picture {run.picture + 1}, search {run.arm}, seed {run.seed}: score {best:.3f}",
        )
        now_s = time.monotonic()
        if best == self._score or now_s - self._shown_s < _PREVIEW_S:
            return
        self._shown_s, self._score = now_s, best
        self._context.preview(compare_side_by_side(campaign.arm.space.picture, campaign.result().picture), PNG)


def _result(context: JobContext, task: AttackTask, attack: Attack, pictures: list[Picture]) -> dict[str, Any]:
    progress = attack.progress
    report = build_report(
        target=_target(task.options, attack),
        options=task.options,
        pictures=progress.pictures,
        runs=attack.findings(),
        stopped=attack.stopped,
        budget=task.budget,
        spent=attack.budget.spent,
    )
    report.advice = advise(report)
    files = JobFiles.of(context)
    shown = _write_pictures(files, report, attack, pictures)
    curve = curve_chart(report.arms, goal=task.options.goal, queries=task.options.queries) if report.arms else None
    document = report.model_dump(mode="json")
    files.put("report.json", orjson.dumps(document, option=orjson.OPT_INDENT_2), JSON)
    files.put("report.html", report_page(report, curve=curve, pictures=shown), HTML)
    if curve is not None:
        files.put("curve.png", to_png(curve), PNG)
    return AttackResult(report=document, files=files.files).as_json()


def _write_pictures(
    files: JobFiles, report: AttackReport, attack: Attack, pictures: list[Picture]
) -> dict[int, list[tuple[bytes, str]]]:
    """Store pictures; the clean one, attention and the best run of each are for the page."""
    shown: dict[int, list[tuple[bytes, str]]] = {}
    for view in report.pictures:
        clean = encode_png(pictures[view.index])
        files.put(f"picture-{view.index + 1}-clean.png", clean, PNG)
        shown[view.index] = [(clean, f"clean: {view.clean[0]}")]
        looked = attention_picture(pictures[view.index], attack.maps(view.index))
        if looked is not None:
            png = encode_png(looked)
            files.put(f"picture-{view.index + 1}-attention.png", png, PNG)
            shown[view.index].append((png, "where the captioner looked"))
    strongest = sorted(report.runs, key=lambda run: (not run.success, run.score, run.distances.l0), reverse=True)
    best = {run.picture: run.run for run in strongest}  # the last of each picture stays
    for run, png in zip(report.runs, attack.found_pngs(), strict=True):
        difference = encode_png(difference_picture(pictures[run.picture], decode_png(png)))
        files.put(f"{run.run.name}.png", png, PNG)
        files.put(f"{run.run.name}-difference.png", difference, PNG)
        if best[run.picture] == run.run:
            shown[run.picture] += [(png, f"{run.arm}: {run.captions[0]}"), (difference, "difference, stretched")]
    return shown


def _target(options: AttackOptions, attack: Attack) -> TargetView:
    progress = attack.progress
    guide = None if progress.guides is None else progress.guides[0]
    model, encoder = progress.models or (None, None)
    if options.endpoint is None:
        return TargetView(kind="model", name=options.model, owner=None, model=model, encoder=encoder, guide=None)
    owner = registered_endpoint(options.endpoint, CaptionAttackSettings()).owner
    return TargetView(kind="endpoint", name=options.endpoint, owner=owner, model=None, encoder=None, guide=guide)
