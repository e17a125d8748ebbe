"""Accuracy at nominal and at low voltage, with and without generators, of the released classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from services.security.neuralfuse.energy import LOW_ENERGY_RATIO, EnergyEstimate, published_estimates
from services.security.neuralfuse.evaluation.measuring import StoredClassifier, read_pictures, transform
from services.security.neuralfuse.evaluation.published import UNPROTECTED
from services.security.neuralfuse.macs import count_macs
from services.security.neuralfuse.training.exports import export_base, export_fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from services.security.neuralfuse.training.release import MODELS, PARAMETER, base_name, release_folder
from services.security.neuralfuse.training.runs import read_base_network, read_fuse
from shared.datasets.traffic_signs import SIDE
from shared.runtime.cards import ModelCard, read_card, read_weights

OWN_BASE = "vgg11"
"""The classifier that generators were trained for."""
OTHER_BASE = "resnet18-half"
"""The one that they are transferred to."""

CONSTANT_SHIFT_RUN = "shift-vgg11"
RETRAINED_RUNS: Mapping[str, str] = {
    "retrained with bit errors": "vgg11-bit-errors",
    "retrained with noisy pictures": "vgg11-noise",
}
"""Runs of `training`, which are no releases: what one could do instead, if the classifier could be changed."""


def measure_own(data: Path, every: int) -> dict[str, Any]:
    """The classifier that the generators were made for, alone and behind each of them."""
    return _measure(OWN_BASE, data, every)


def measure_transfer(data: Path, every: int) -> dict[str, Any]:
    """Another classifier behind the same generators."""
    return _measure(OTHER_BASE, data, every)


def measure_alternatives(data: Path, every: int, runs: Path) -> dict[str, Any]:
    """An input-independent shift, and classifiers that were trained again."""
    pictures, classes = read_pictures(data, every=every)
    base = StoredClassifier(content_of(base_card(OWN_BASE)))
    shifted = transform(export_fuse(read_fuse(runs / CONSTANT_SHIFT_RUN)), pictures)
    found = {"constant shift": base.accuracies(shifted, classes, title="constant shift").as_json()}
    for name, run in RETRAINED_RUNS.items():
        other = StoredClassifier(export_base(PerturbedNetwork(read_base_network(runs / run))))
        found[name] = other.accuracies(pictures, classes, title=name).as_json()
    return {"pictures": len(pictures), "methods": found}


def generator_cards() -> Iterator[ModelCard]:
    """Cards of all released generators."""
    for path in sorted(MODELS.glob("*/*/card.json")):
        card = read_card(path.parent)
        part = card.parameters.get(PARAMETER)
        if isinstance(part, dict) and part.get("role") == "generator":
            yield card


def _measure(network: str, data: Path, every: int) -> dict[str, Any]:
    pictures, classes = read_pictures(data, every=every)
    card = base_card(network)
    content = content_of(card)
    base = StoredClassifier(content)
    methods = {UNPROTECTED: base.accuracies(pictures, classes, title=card.name).as_json()}
    for generator in generator_cards():
        fuse = content_of(generator)
        found = base.accuracies(transform(fuse, pictures), classes, title=generator.name)
        methods[generator.name] = {**found.as_json(), "energy_savings": _savings(network, generator, content, fuse)}
    return {"base": card.name, "sha256": card.weights.sha256, "pictures": len(pictures), "methods": methods}


def _savings(network: str, generator: ModelCard, base: bytes, fuse: bytes) -> dict[str, float]:
    """In percent, by where the counts come from."""
    part = generator.parameters[PARAMETER]
    architecture = str(part["architecture"]) if isinstance(part, dict) else ""
    estimates = published_estimates(network, architecture, side=(SIDE, SIDE), ratio=LOW_ENERGY_RATIO)
    if not estimates:
        own, added = (count_macs(onnx.load_from_string(one), height=SIDE, width=SIDE) for one in (base, fuse))
        estimates = [EnergyEstimate("MACs counted in the graphs", own, added, LOW_ENERGY_RATIO)]
    return {one.source: round(one.saving_percent, 1) for one in estimates}


def base_card(network: str) -> ModelCard:
    """The card of a released classifier."""
    return read_card(release_folder(base_name(network)))


def content_of(card: ModelCard) -> bytes:
    """The file of a released model."""
    return read_weights(release_folder(card.name), card)
