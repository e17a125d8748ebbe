"""Detectors are what their options say, and files bring both back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from services.perception.detection.optimisation.construction import (
    DetectorOptions,
    make_detector,
    options_of,
    read_detector,
    save_detector,
)
from services.perception.detection.optimisation.faster_rcnn import FasterRcnn
from tests.support.detectors import ARCHITECTURES, TINY, TINY_STAGES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_brings_a_detector_back(architecture: str, tmp_path: Path) -> None:
    options = DetectorOptions(("cat", "dog"), architecture, TINY, TINY_STAGES)  # type: ignore[arg-type]
    detector = make_detector(options).eval()
    assert isinstance(detector, FasterRcnn) == (architecture == "two-stage")
    save_detector(detector, options, tmp_path / "detector.pt")
    found, known = read_detector(tmp_path / "detector.pt")
    assert known == options
    assert not found.training
    for name, tensor in detector.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name])
    assert [file.name for file in tmp_path.iterdir()] == ["detector.pt"]


def test_options_survive_json() -> None:
    options = DetectorOptions(("cat",), "two-stage", TINY, TINY_STAGES)
    assert options_of(json.loads(json.dumps(asdict(options)))) == options
