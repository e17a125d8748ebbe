"""ACIA: a detector for a domain of which there are pictures and no labels (paper, sections 3 to 5).

Burn-in learns from labelled sources. Afterwards a teacher, the running mean of the student, labels pictures of the
target, and two domain classifiers behind gradient reversal make features of all domains alike: of places in images, and
of objects of the sources given their class. What comes out is the teacher alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.perception.detection.optimisation.adaptation_batches import Batch, LabelledPictures, draw_batch
from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe
from services.perception.detection.optimisation.construction import make_detector
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.domain_alignment import ImageDiscriminator, InstanceDiscriminator
from services.perception.detection.optimisation.faster_rcnn import FasterRcnn
from services.perception.detection.optimisation.gradient_reversal import ramp
from services.perception.detection.optimisation.guards import Guard
from services.perception.detection.optimisation.instances import Maps
from services.perception.detection.optimisation.mean_teacher import follow, label_pictures, make_teacher
from services.perception.detection.optimisation.optimisers import make_optimiser, rate_factor, set_rates

_ALIGNMENT_WARM_UP = 50
"""Steps over which learning rates rise again after burn-in."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step came to.

    Attributes:
        step: from 1.
        losses: by name: `supervised`, and after burn-in `unsupervised`, `image`, `instance`.
        labels_per_picture: pseudo-labels of a target picture, on average over the last steps.
    """

    step: int
    losses: Mapping[str, float]
    labels_per_picture: float


class Adaptation:
    """One run.

    Args:
        recipe: what to do.
        sources: at least one; classes are numbered as in `recipe.detector.classes`.
        target: pictures uint8 (height, width, 3), RGB.
        weights: the published state of EfficientNet-Lite0, for that backbone.
        detector: to start from, in the place of a new one.

    Raises:
        ValueError: there is no source, instances are to be aligned of fewer than two, or of a single-stage detector.
    """

    def __init__(
        self,
        recipe: AdaptationRecipe,
        sources: Sequence[LabelledPictures],
        target: Sequence[NDArray[np.uint8]],
        *,
        weights: Mapping[str, Tensor] | None = None,
        detector: Detector | None = None,
    ) -> None:
        _check(recipe, sources, target)
        torch.manual_seed(recipe.seed)
        self.recipe, self.sources, self.target = recipe, sources, target
        student = detector or make_detector(recipe.detector, weights)
        self.student: Detector = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = make_teacher(self.student)
        self.step, self.guard = 0, Guard(recipe.guard)
        modules: dict[str, nn.Module] = {"detector": self.student}
        if recipe.image:
            channels = self.student.backbone.options.channels
            modules["image"] = ImageDiscriminator(channels, len(sources) + 1, recipe.alignment)
        if recipe.instance:
            width, classes = recipe.detector.two_stage.heads.width, len(recipe.detector.classes)
            modules["instance"] = InstanceDiscriminator(width, classes, len(sources), recipe.alignment)
        self._modules = modules
        self._optimiser = self._make_optimiser()

    @property
    def aligning(self) -> bool:
        """Whether burn-in is over."""
        return self.step >= self.recipe.burn_in

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.recipe.total

    def run(self, report: Callable[[StepReport], None] = lambda _: None) -> Detector:
        """Do the steps that are left.

        Args:
            report: called after each step; whatever it raises ends the run between two steps.

        Raises:
            Diverged: it was stopped by its guard.

        Returns:
            The teacher, in evaluation mode.
        """
        while not self.finished:
            report(self.advance())
        return self.teacher

    def advance(self) -> StepReport:
        """Do one step.

        Raises:
            Diverged: it was stopped by its guard.
        """
        recipe = self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)  # what is sampled is the same after a resume
        if self.step == recipe.burn_in:
            self._begin_alignment()
        for module in self._modules.values():
            module.train()
        batch = draw_batch(recipe, self.sources, self.target, self.step)
        set_rates(self._optimiser, self._rate())
        losses = self._losses(batch)
        self._update(losses)
        follow(self.teacher, self.student, recipe.decay if self.aligning else 0.0)
        self.step += 1
        return StepReport(
            self.step, {name: float(one.detach()) for name, one in losses.items()}, self.guard.labels_per_picture
        )

    def _begin_alignment(self) -> None:
        """Make the teacher, and the optimiser anew, as one burn-in serves many recipes."""
        self.teacher = make_teacher(self.student)
        self._optimiser = self._make_optimiser()

    def _make_optimiser(self) -> torch.optim.Optimizer:
        slow = "detector.backbone.body." if self.recipe.detector.backbone.kind == "lite0" else None
        return make_optimiser(self._modules, self.recipe.optimiser, slow=slow)

    def _rate(self) -> float:
        recipe = self.recipe
        if not self.aligning:
            return rate_factor(self.step, warm_up=recipe.optimiser.warm_up, total=None)
        return rate_factor(self.step - recipe.burn_in, warm_up=_ALIGNMENT_WARM_UP, total=recipe.steps)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        maps = self.student.backbone(images)
        labelled, count = _part(maps, slice(batch.labelled)), batch.labelled
        found = self.student.losses(images[:count], batch.targets, maps=labelled)
        losses = {"supervised": torch.stack(list(found.values())).sum()}
        self.guard.check(float(losses["supervised"].detach()), aligning=self.aligning)
        if not self.aligning:
            return losses
        progress = (self.step - self.recipe.burn_in) / max(1, self.recipe.steps)
        if self.recipe.unsupervised:
            losses["unsupervised"] = self._unsupervised(images[count:], _part(maps, slice(count, None)), batch.weak)
        if self.recipe.image:
            losses["image"] = self._image_loss(maps, batch, reversal=ramp(progress))
        if self.recipe.instance:
            losses["instance"] = self._instance_loss(labelled, batch, reversal=ramp(progress))
        return losses

    def _unsupervised(self, images: Tensor, maps: Maps, weak: Tensor) -> Tensor:
        """Losses of classes on what the teacher finds in the weak views."""
        recipe = self.recipe
        labels = label_pictures(self.teacher, weak, threshold=recipe.threshold, unsure=recipe.unsure)
        self.guard.count(sum(map(len, labels)), len(labels))
        # Of a picture without any nobody knows whether it is empty or the teacher unsure.
        kept = [place for place, one in enumerate(labels) if len(one)]
        if not kept:
            return images.new_zeros(())
        seen = [labels[place] for place in kept]
        found = self.student.classification_losses(images[kept], seen, maps=_part(maps, kept))
        return torch.stack(list(found.values())).sum()

    def _image_loss(self, maps: Maps, batch: Batch, *, reversal: float) -> Tensor:
        discriminator = self._modules["image"]
        assert isinstance(discriminator, ImageDiscriminator)  # noqa: S101 - made so
        unlabelled = len(batch.images) - batch.labelled
        domains = torch.cat((batch.sources, torch.full((unlabelled,), len(self.sources))))
        return discriminator.loss(maps[self.recipe.alignment.level], domains, reversal=reversal)

    def _instance_loss(self, maps: Maps, batch: Batch, *, reversal: float) -> Tensor:
        """Of the labelled boxes, whose features are in the order of their labels: nothing is sampled."""
        discriminator, student = self._modules["instance"], self.student
        assert isinstance(discriminator, InstanceDiscriminator)  # noqa: S101 - made so
        assert isinstance(student, FasterRcnn)  # noqa: S101 - checked
        features = student.box_features(maps, [one.boxes for one in batch.targets])
        size = self.recipe.batch
        labels = [
            torch.cat([one.labels for one in batch.targets[start : start + size]])
            for start in range(0, batch.labelled, size)
        ]
        return discriminator.loss(features, labels, reversal=reversal)

    def _update(self, losses: Mapping[str, Tensor]) -> None:
        recipe = self.recipe
        weights = {"unsupervised": recipe.unsupervised, "image": recipe.image, "instance": recipe.instance}
        total = losses["supervised"]
        if others := [weights[name] * value for name, value in losses.items() if name in weights]:
            total = self.guard.combine(total, torch.stack(others).sum())
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        parameters = [one for module in self._modules.values() for one in module.parameters()]
        nn.utils.clip_grad_norm_(parameters, recipe.guard.largest_gradient)
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, for `torch.save`."""
        return {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "teacher": self.teacher.state_dict(),
            "modules": {name: module.state_dict() for name, module in self._modules.items()},
            "optimiser": self._optimiser.state_dict(),
            "guard": self.guard.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a run of the same recipe, or its burn-in under another one, had come to.

        Raises:
            ValueError: the state is of a run whose burn-in was another.
        """
        if _burn_in_of(state["recipe"]) != _burn_in_of(asdict(self.recipe)):
            raise ValueError("the state is of a run with another burn-in")
        if state["recipe"] != asdict(self.recipe) and state["step"] > self.recipe.burn_in:
            raise ValueError("the state is of a run with another recipe, beyond its burn-in")
        self.step = state["step"]
        self.guard.restore(state["guard"])
        self.teacher.load_state_dict(state["teacher"])
        self.student.load_state_dict(state["modules"]["detector"])
        if self.step != self.recipe.burn_in:  # at its end all of these are new
            for name, module in self._modules.items():
                module.load_state_dict(state["modules"][name])
            self._optimiser.load_state_dict(state["optimiser"])


def _check(recipe: AdaptationRecipe, sources: Sequence[LabelledPictures], target: Sequence[NDArray[np.uint8]]) -> None:
    if not sources or not all(len(source.images) for source in sources):
        raise ValueError("adaptation needs labelled pictures of each source")
    if recipe.sees_target and not target:
        raise ValueError("adaptation needs pictures of the target")
    if recipe.instance and (len(sources) < 2 or recipe.detector.architecture != "two-stage"):
        raise ValueError("instances are aligned of two sources or more, by a two-stage detector")


def _part(maps: Maps, places: slice | list[int]) -> Maps:
    return tuple(features[places] for features in maps)


_LATER = (
    "steps", "decay", "threshold", "unsure", "unsupervised", "image", "instance", "alignment", "guard", "target_batch",
)  # fmt: skip


def _burn_in_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe decides on burn-in."""
    return {name: value for name, value in recipe.items() if name not in _LATER}
