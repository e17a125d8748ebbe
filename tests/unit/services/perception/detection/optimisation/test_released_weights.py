"""A network that was read out of a file says what the file says."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from services.perception.detection import demo
from services.perception.detection.optimisation.batches import pad_images, to_image
from services.perception.detection.optimisation.construction import DetectorOptions
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.released_weights import read_released
from services.perception.detection.training.data import CARLA
from services.perception.detection.training.plan import RUNS
from services.training.half_precision import halve_weights
from shared.runtime.models.registry import newest_folder
from shared.settings import get_settings
from tests.support.detectors import CLASSES, TINY, TINY_STAGES, sharpen, tiny_detector

MODELS = Path(__file__).parents[6] / "services" / "perception" / "models"
OPTIONS = {one.model: one.recipe.detector for one in RUNS.values()}
DEFAULT = "vehicle-detector"
FRAMES = get_settings().data / CARLA.folder
SMALL = DetectorOptions(CLASSES, "single-stage", TINY)


@pytest.fixture(scope="module")
def content() -> bytes:
    return (newest_folder(MODELS, DEFAULT) / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def small() -> tuple[Detector, bytes]:
    """A detector whose norms are none that add nothing, and its file in half precision."""
    detector = tiny_detector("single-stage")
    sharpen(detector)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in detector.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return detector, halve_weights(export_detector(detector))


def street() -> Tensor:
    return _batch(np.asarray(Image.open(io.BytesIO(demo.street())).convert("RGB")))


def noise() -> Tensor:
    return torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))


def frame() -> Tensor:
    """A frame of CARLA's."""
    found = sorted((FRAMES / "images").glob("*"))
    return _batch(np.asarray(Image.open(found[0]).convert("RGB")))


def _batch(pixels: NDArray[np.uint8]) -> Tensor:
    return pad_images([to_image(pixels)])


def require_same(detector: Detector, file: bytes, image: Tensor) -> None:
    """Each region of the file is one of the network; those with near-equal scores may change places."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {"image": image.numpy()})
    with torch.no_grad():
        (found,) = detector.predict(image)
    assert np.ptp(scores) > 0.01
    np.testing.assert_allclose(np.sort(found.scores.numpy(), axis=0), np.sort(scores, axis=0), atol=1e-4)
    answered, wanted = (np.concatenate(pair, axis=1) for pair in ((boxes, scores), (found.boxes, found.scores)))
    nearest = np.abs(answered[:, None] - wanted[None]).max(axis=2)
    assert max(nearest.min(axis=0).max(), nearest.min(axis=1).max()) < 5e-4  # pixels, and scores


REAL = pytest.param(frame, marks=[pytest.mark.data, pytest.mark.skipif(not FRAMES.is_dir(), reason="no street scenes")])


@pytest.mark.parametrize("picture", [noise, street, REAL])
def test_the_network_says_what_the_released_file_says(content: bytes, picture: Callable[[], Tensor]) -> None:
    require_same(read_released(content, OPTIONS[DEFAULT]), content, picture())


def test_weights_in_half_precision_are_read_as_they_are(small: tuple[Detector, bytes]) -> None:
    network, file = small
    detector = read_released(file, SMALL)
    for name, tensor in network.state_dict().items():
        stored = tensor.half().float() if tensor.numel() > 256 else tensor
        assert torch.equal(detector.state_dict()[name], stored), name
    require_same(detector, file, noise())


def test_training_goes_on_from_there(content: bytes) -> None:
    detector = read_released(content, OPTIONS[DEFAULT]).train()
    losses = detector.losses(noise(), [Targets(torch.tensor([[20.0, 20.0, 70.0, 60.0]]), torch.tensor([0]))])
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    changed = {name for name, one in detector.named_parameters() if one.grad is not None and bool(one.grad.any())}
    assert {"classify.weight", "regress.bias"} <= changed
    assert any(name.startswith("backbone.body.stages.6.") for name in changed)
    assert not any("stem" in name or "_bn" in name for name in changed)


def test_graphs_of_others_are_refused(small: tuple[Detector, bytes]) -> None:
    _, file = small
    with pytest.raises(ValueError, match=r"the graph computes .* convolutions .*, the detector"):
        read_released(file, DetectorOptions(CLASSES, "two-stage", TINY, TINY_STAGES))
    wider = replace(TINY, channels=24)
    with pytest.raises(ValueError, match=r"backbone.pyramid.laterals.0.weight is \(24, 16, 1, 1\), in the graph \(16,"):
        read_released(file, replace(SMALL, backbone=wider))
    with pytest.raises(ValueError, match=r"classify.weight is \(2, "):
        read_released(file, replace(SMALL, classes=CLASSES[:2]))
    with pytest.raises(ValueError, match="the graph computes"):
        read_released((newest_folder(MODELS, "traffic-signs") / "model.onnx").read_bytes(), OPTIONS[DEFAULT])


def test_a_graph_whose_levels_have_weights_of_their_own_is_refused(small: tuple[Detector, bytes]) -> None:
    """One convolution that all maps share would have to be three."""
    model = onnx.load_model_from_string(small[1])
    (shared,) = (one for one in model.graph.initializer if one.name.startswith("detector.classify.weight"))
    other = onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(shared).astype(np.float32), "other")
    model.graph.initializer.append(other)
    readers = [one for one in model.graph.node if one.op_type == "Conv" and "classify.weight" in one.input[1]]
    readers[-1].input[1] = "other"
    with pytest.raises(ValueError, match=r"classify\.weight is not the same wherever"):
        read_released(model.SerializeToString(), SMALL)
