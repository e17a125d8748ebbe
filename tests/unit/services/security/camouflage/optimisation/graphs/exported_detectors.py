"""Small detectors of random weights and their graphs, exported once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.region_proposals import ProposalOptions
from tests.support.detectors import TINY_STAGES, sharpen, tiny_detector


@cache
def exported(architecture: str) -> tuple[Detector, bytes]:
    """A detector of three classes and its ONNX file; of one with two stages, how many regions differs by picture."""
    proposals = ProposalOptions(after=20, overlap=0.3)
    detector = tiny_detector(architecture, options=replace(TINY_STAGES, proposals=proposals))
    sharpen(detector)
    return detector, export_detector(detector)
