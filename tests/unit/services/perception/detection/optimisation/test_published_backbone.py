"""The backbone of adaptation jobs is the released classifier: the same picture gives the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.detection.optimisation.backbones import BackboneOptions, LiteBody
from services.perception.detection.optimisation.published_backbone import CLASSIFIER, weights_of_classifier
from shared.runtime.models.registry import newest_folder

FILE = newest_folder(Path(__file__).parents[6] / "services" / "perception" / "models", CLASSIFIER) / "model.onnx"


def test_it_is_the_released_classifier() -> None:
    content = FILE.read_bytes()
    network = EfficientNetLite()
    network.load_state_dict(weights_of_classifier(content))
    pictures = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)
    session = onnxruntime.InferenceSession(content)
    (expected,) = session.run(None, {session.get_inputs()[0].name: pictures})
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(pictures)).numpy()
    assert np.ptp(expected) > 3
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_detector_takes_it() -> None:
    weights = weights_of_classifier(FILE.read_bytes())
    body = LiteBody(BackboneOptions(), weights)
    assert torch.equal(body.state_dict()["stem.convolution.weight"], weights["_conv_stem.weight"])


def test_another_graph_is_refused() -> None:
    other = newest_folder(FILE.parents[2], "traffic-signs") / "model.onnx"
    with pytest.raises(ValueError, match="not the graph of imagenet-lite0"):
        weights_of_classifier(other.read_bytes())
