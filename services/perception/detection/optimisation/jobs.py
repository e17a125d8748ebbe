"""The job of an adaptation: learns, shows what it finds on the way, and makes a detector with its card.

It goes on from the last checkpoint after its worker was killed, and ends at the weights of an unbroken run.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from services.optimisation.divergence import Diverged
from services.perception.detection.adaptation_schemas import (
    NO_HOLDOUT,
    SIMULATED,
    AdaptationOptions,
    AdaptationResult,
    AdaptationTask,
    EpochFigures,
    SetFigures,
)
from services.perception.detection.optimisation.adaptation import Adaptation, StepReport
from services.perception.detection.optimisation.adaptation_figures import draw_side_by_side, measure
from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe
from services.perception.detection.optimisation.adaptation_release import AdaptedDetector, release
from services.perception.detection.optimisation.adaptation_sets import AdaptationSets, read_sets
from services.perception.detection.optimisation.backbones import BackboneOptions
from services.perception.detection.optimisation.construction import DetectorOptions, make_detector
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.optimisers import OptimiserOptions
from services.perception.detection.optimisation.published_backbone import CLASSIFIER, weights_of_classifier
from services.released import released_folders
from shared.fleet.artifacts import model_artifact
from shared.http.negotiation import PNG
from shared.imaging.pictures import encode_png
from shared.jobs.context import JobContext
from shared.problems import UnprocessableContent, field_problem
from shared.settings import Settings, get_settings

LOOKS: Final = 10
"""How often figures and previews are made."""
_BETWEEN_LOOKS: Final = 5
"""Fewest steps from one look to the next: a look costs as much as one or two."""
_SAVED_EVERY: Final = 50
"""Steps between checkpoints; there is one after burn-in, too."""
_TIMED: Final = 20
"""Steps after which it is known how long the rest takes."""
LONGEST_S: Final = 3300.0
"""Of all steps; the time limit of the kind is a little above."""
_SHOWN_PICTURES: Final = 4


def adapt(context: JobContext) -> dict[str, Any]:
    """Adapt a detector to a domain without labels.

    Raises:
        UnprocessableContent: the posted sets cannot be used, it would take too long, or it came to nothing.
    """
    task, settings = AdaptationTask.model_validate(context.arguments), get_settings()
    sets = read_sets(task, context.blobs, pixel_limit=settings.pixel_limit)
    torch.set_num_threads(settings.inference_threads)
    recipe = recipe_of(task.options, sets)
    run = _Run(context, sets, Adaptation(recipe, sets.sources, sets.target, weights=_weights(task.options, settings)))
    run.restore()
    try:
        run.work()
    except Diverged as diverged:
        raise UnprocessableContent(f"Adaptation was stopped at step {run.adaptation.step}. {diverged}") from None
    return _result(context, task, run)


def recipe_of(options: AdaptationOptions, sets: AdaptationSets) -> AdaptationRecipe:
    """The recipe that options stand for."""
    aligned, follows = options.method == "acia", options.method != "source-only"
    backbone = BackboneOptions(kind="lite0" if options.backbone == "imagenet" else "residual")
    return AdaptationRecipe(
        DetectorOptions(sets.classes, "two-stage", backbone),
        burn_in=options.burn_in,
        steps=options.steps,
        batch=options.batch,
        target_batch=options.batch,
        optimiser=OptimiserOptions(learning_rate=options.learning_rate, warm_up=min(200, options.burn_in // 3 + 1)),
        decay=options.decay if follows else 0.0,
        threshold=options.threshold,
        unsure=options.unsure,
        unsupervised=1.0 if follows else 0.0,
        image=options.image_weight if aligned else 0.0,
        instance=options.instance_weight if aligned and len(sets.sources) > 1 else 0.0,
        seed=options.seed,
    )


def _weights(options: AdaptationOptions, settings: Settings) -> dict[str, torch.Tensor] | None:
    if options.backbone != "imagenet":
        return None
    return weights_of_classifier(model_artifact(settings, released_folders(settings), CLASSIFIER).read())


@dataclass(slots=True)
class _Run:
    """An adaptation with what was seen of it; all but the sets is in its checkpoints."""

    context: JobContext
    sets: AdaptationSets
    adaptation: Adaptation
    epochs: list[EpochFigures] = field(default_factory=list)
    seconds: float = 0.0
    before: SetFigures | None = None
    source_only: dict[str, torch.Tensor] | None = None
    """Weights at the end of burn-in."""
    _losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def work(self) -> None:
        """Do the steps that are left.

        Raises:
            Diverged: it was stopped by its guard.
            UnprocessableContent: it would take too long.
        """
        adaptation, began_s, first = self.adaptation, time.monotonic(), self.adaptation.step
        ends = {adaptation.recipe.burn_in, adaptation.recipe.total}
        look_every = max(_BETWEEN_LOOKS, adaptation.recipe.total // LOOKS)
        while not adaptation.finished:
            if adaptation.step == adaptation.recipe.burn_in and self.source_only is None:
                self._end_burn_in()
            self._take(adaptation.advance())
            now_s = time.monotonic()
            self.seconds += now_s - began_s
            began_s = now_s
            if adaptation.step - first == _TIMED:
                self._require_time()
            if adaptation.step % look_every == 0 or adaptation.finished:
                self._look()
            if adaptation.step % _SAVED_EVERY == 0 or adaptation.step in ends:
                self.context.checkpoint(self.state())

    def _take(self, report: StepReport) -> None:
        for name, value in report.losses.items():
            self._losses[name].append(value)
        recipe = self.adaptation.recipe
        doing = "learning from labels" if report.step <= recipe.burn_in else "adapting"
        found = f", {report.labels_per_picture:.1f} objects in a target picture" if report.step > recipe.burn_in else ""
        self.context.progress(report.step, recipe.total, f"{doing}: loss {report.losses['supervised']:.3f}{found}")

    def _end_burn_in(self) -> None:
        """Remember the detector that has not seen the target."""
        self.source_only = {name: value.clone() for name, value in self.adaptation.student.state_dict().items()}
        if self.sets.holdout is not None:
            self.before = measure(self.adaptation.student, self.sets.holdout)

    def _look(self) -> None:
        """Measure the detector of this step, and show what it finds in target pictures."""
        figures = [measure(self.adaptation.teacher, kept) for kept in self.sets.kept]
        self.epochs.append(
            EpochFigures(
                step=self.adaptation.step,
                losses={name: round(float(np.mean(values)), 4) for name, values in self._losses.items()},
                labels_per_picture=round(self.adaptation.guard.labels_per_picture, 2),
                sources=_mean(figures),
            )
        )
        self._losses.clear()
        drawn = draw_side_by_side([("target", self.adaptation.teacher)], self._shown(), self.sets.classes)
        self.context.preview(encode_png(drawn), PNG)

    def _shown(self) -> list[Any]:
        count = len(self.sets.target)
        places = np.linspace(0, count - 1, min(_SHOWN_PICTURES, count)).astype(int).tolist()
        return [self.sets.target[place] for place in places]

    def _require_time(self) -> None:
        adaptation = self.adaptation
        left = (adaptation.recipe.total - adaptation.step) * self.seconds / max(1, adaptation.step)
        if self.seconds + left > LONGEST_S:
            minutes = (self.seconds + left) / 60
            raise field_problem(
                "/body/steps",
                f"On this machine this would take {minutes:.0f} minutes, and {LONGEST_S / 60:.0f} are the most. Ask "
                "for fewer steps, smaller batches or a smaller `short_side`.",
            )

    def draw_before_and_after(self) -> bytes:
        """Target pictures by both detectors, as PNG."""
        after = self.adaptation.teacher
        columns: list[tuple[str, Detector]] = [("adapted", after)]
        if self.source_only is not None:
            before = make_detector(self.adaptation.recipe.detector)
            before.load_state_dict(self.source_only)
            columns.insert(0, ("labels of the sources alone", before))
        return encode_png(draw_side_by_side(columns, self._shown(), self.sets.classes))

    def state(self) -> bytes:
        """For a checkpoint."""
        content = io.BytesIO()
        torch.save(
            {
                "adaptation": self.adaptation.state(),
                "source_only": self.source_only,
                "seconds": self.seconds,
                "epochs": [one.model_dump(mode="json") for one in self.epochs],
                "before": None if self.before is None else self.before.model_dump(mode="json"),
                "losses": dict(self._losses),
            },
            content,
        )
        return content.getvalue()

    def restore(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        saved = self.context.restore()
        if saved is None:
            return
        state = torch.load(io.BytesIO(saved), weights_only=True)
        self.adaptation.restore(state["adaptation"])
        self.source_only, self.seconds = state["source_only"], state["seconds"]
        self.epochs = [EpochFigures.model_validate(one) for one in state["epochs"]]
        self.before = None if state["before"] is None else SetFigures.model_validate(state["before"])
        self._losses.update(state["losses"])
        self.context.log(f"Going on from step {self.adaptation.step}.")


def _mean(figures: list[SetFigures]) -> SetFigures:
    """Of several sources: sums of pictures and objects, means of average precision."""

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return SetFigures(
        pictures=sum(one.pictures for one in figures),
        ap=mean([one.ap for one in figures]),
        ap50=mean([one.ap50 for one in figures]),
        ap75=mean([one.ap75 for one in figures]),
        classes=[
            of_class[0].model_copy(
                update={
                    "objects": sum(one.objects for one in of_class),
                    "ap": mean([one.ap for one in of_class]),
                    "ap50": mean([one.ap50 for one in of_class]),
                }
            )
            for of_class in zip(*(one.classes for one in figures), strict=True)
        ],
    )


def _result(context: JobContext, task: AdaptationTask, run: _Run) -> dict[str, Any]:
    sets, recipe = run.sets, run.adaptation.recipe
    after = None if sets.holdout is None else measure(run.adaptation.teacher, sets.holdout)
    detector = AdaptedDetector(task.options, recipe, sets, run.adaptation.teacher, before=run.before, after=after)
    released = release(context, detector, drawn=run.draw_before_and_after())
    caveats = [SIMULATED] if sets.holdout is not None else [SIMULATED, NO_HOLDOUT]
    if task.options.method == "acia" and len(sets.sources) < 2:
        caveats.append("Objects were not aligned, as that needs two sources or more; images were.")
    return AdaptationResult(
        model=released.model,
        registered=released.registered,
        method=task.options.method,
        classes=list(sets.classes),
        pictures={f"source_{number}": len(one) for number, one in enumerate(sets.sources, start=1)}
        | {"target": len(sets.target)},
        epochs=run.epochs,
        before=run.before,
        after=after,
        parity=released.parity,
        seconds=round(run.seconds, 1),
        caveats=caveats,
        files=released.files,
    ).model_dump(mode="json")
