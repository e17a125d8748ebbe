"""Both detectors by their common interface: they learn two pictures by heart, and stand empty ones."""

from __future__ import annotations

import pytest
import torch

from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.faster_rcnn import FasterRcnn
from services.perception.detection.optimisation.feature_pyramid import Backbone
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.suppression import DetectionOptions
from tests.support.detectors import ARCHITECTURES, TINY, rectangle_image, tiny_detector

RECTANGLES = (
    ((0, (8, 12, 40, 36)), (1, (60, 20, 84, 56)), (2, (100, 70, 112, 84))),
    ((1, (10, 50, 70, 90)), (0, (90, 8, 120, 30))),
)
HEIGHT, WIDTH = 96, 128


def pictures() -> tuple[torch.Tensor, list[Targets]]:
    drawn = [rectangle_image(rectangles, HEIGHT, WIDTH) for rectangles in RECTANGLES]
    return torch.stack([image for image, _ in drawn]), [target for _, target in drawn]


def learn(detector: Detector, optimiser: torch.optim.Optimizer, steps: int) -> None:
    images, targets = pictures()
    for _ in range(steps):
        optimiser.zero_grad()
        torch.stack(list(detector.losses(images, targets).values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimiser.step()


def knows_by_heart(detector: Detector) -> bool:
    """Whether it finds each object to three pixels, and nothing else."""
    images, targets = pictures()
    return all(
        sorted(found.labels.tolist()) == sorted(target.labels.tolist())
        and all(
            torch.allclose(box, target.boxes[target.labels == label][0], atol=3.0, rtol=0)
            for label, box in zip(found.labels, found.boxes, strict=True)
        )
        for found, target in zip(detector.detect(images, DetectionOptions(score=0.4)), targets, strict=True)
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_may_be_an_object_is_not_learned_as_background(architecture: str) -> None:
    detector, image = tiny_detector(architecture), pictures()[0][:1]
    name = "region_classes" if architecture == "two-stage" else "quality"
    places = torch.tensor([[0.0, 0.0, WIDTH, HEIGHT]])
    if isinstance(detector, FasterRcnn):
        places = detector.proposals.propose(detector.proposals(detector.backbone(image)), places[0, [3, 2]])[0]

    def loss(unsure: torch.Tensor | None) -> float:
        target = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), unsure)
        return float(detector.losses(image, [target])[name].detach())

    assert loss(None) > 0
    assert loss(places) == 0
    assert loss(places[len(places) // 2 :] / 2) > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_learns_two_pictures_by_heart(architecture: str) -> None:
    """After how many steps depends on how the processor rounds."""
    detector = tiny_detector(architecture)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=4e-3, weight_decay=0)
    assert not knows_by_heart(detector)
    for _ in range(8):
        learn(detector, optimiser, 50)
        if knows_by_heart(detector):
            return
    pytest.fail("not learned in 400 steps")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_of_pictures_without_objects_are_finite(architecture: str) -> None:
    detector, (images, targets) = tiny_detector(architecture), pictures()
    empty = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    for given in ([empty, empty], [targets[0], empty]):
        found = detector.losses(images, given)
        total = torch.stack(list(found.values())).sum()
        detector.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [one.grad for one in detector.parameters() if one.grad is not None]
        assert bool(total.isfinite())
        assert all(bool(one.isfinite().all()) for one in gradients)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pseudo_labels_teach_classes_alone(architecture: str) -> None:
    detector, (images, targets) = tiny_detector(architecture), pictures()
    torch.stack(list(detector.classification_losses(images, targets).values())).sum().backward()  # type: ignore[no-untyped-call]
    names = ("proposals.deltas", "heads.regress", "regress", "box_tower")
    for name, parameter in detector.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved == (not name.startswith(names)), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_maps_may_be_given(architecture: str) -> None:
    detector, (images, targets) = tiny_detector(architecture), pictures()
    torch.manual_seed(1)
    own = detector.losses(images, targets)
    maps = detector.backbone(images)
    torch.manual_seed(1)
    for name, value in detector.losses(images, targets, maps=maps).items():
        torch.testing.assert_close(value, own[name])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_picture_is_answered_by_itself(architecture: str) -> None:
    detector, (images, _) = tiny_detector(architecture), pictures()
    together = detector.predict(images)
    for index, whole in enumerate(together):
        alone = detector.predict(images[index : index + 1])[0]
        torch.testing.assert_close(
            alone.scores.sort(dim=0).values, whole.scores.sort(dim=0).values, atol=1e-5, rtol=1e-4
        )


def test_anchors_are_for_the_maps_of_the_backbone() -> None:
    with pytest.raises(ValueError, match="anchors for 3 maps"):
        FasterRcnn(2, Backbone(TINY.__class__(kind="residual", strides=(8, 16))))


def test_vectors_of_boxes_have_gradients_to_the_backbone() -> None:
    detector, (images, targets) = tiny_detector("two-stage"), pictures()
    assert isinstance(detector, FasterRcnn)
    vectors = detector.box_features(detector.backbone(images), [target.boxes for target in targets])
    assert vectors.shape == (5, 32)
    vectors.sum().backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is not None for one in detector.backbone.body.parameters())
