"""From what a request asks to what it is answered with: finds models, decodes, transforms, runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.security.bit_errors.faults import FaultModel
from services.security.neuralfuse.answers import Predicted
from services.security.neuralfuse.estimates import estimate_energy
from services.security.neuralfuse.generators import (
    NO_GENERATOR,
    Generator,
    choose_generator,
    default_base,
    transform,
)
from services.security.neuralfuse.inference import predict, require_affordable
from services.security.neuralfuse.networks import Networks
from services.security.neuralfuse.schemas import DEFAULT_RATE, PredictionOptions
from services.security.neuralfuse.voltages import rate_at
from shared.fleet.artifacts import ModelArtifact
from shared.fleet.classifiers import ClassifierDescription, describe_classifier
from shared.problems import field_problem
from shared.runtime.compute_pool import Admission
from shared.service_state import ServiceState
from shared.telemetry.timing import timed


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks, with its models found.

    Attributes:
        artifact: the classifier.
        description: how it wants pictures, and what its answer means.
        generator: that pictures pass; None for none.
        generator_wanted: whether one was wanted.
        faults: of the memories.
        seeds: of the chips.
    """

    artifact: ModelArtifact
    description: ClassifierDescription
    generator: Generator | None
    generator_wanted: bool
    faults: FaultModel
    seeds: Sequence[int]

    @property
    def ways(self) -> int:
        """In which each picture is asked about: as it is, and transformed."""
        return 1 if self.generator is None else 2


async def read_question(options: PredictionOptions, service: ServiceState, networks: Networks) -> Question:
    """Find what a request asks for.

    Raises:
        NotFound, ServiceUnavailable: as `ModelArtifacts.find`.
        UnprocessableContent: options that contradict each other or the models.
    """
    faults = _faults_of(options)
    artifact = await networks.find(options.model or default_base(service.models))
    description = describe_classifier(artifact.card)
    _require_classes(description, options.top)
    generator = choose_generator(service.models, options.generator, description.reference)
    if generator is not None:
        generator.require_size(description.height, description.width)
    seeds = list(dict.fromkeys(options.seeds))
    return Question(artifact, description, generator, options.generator != NO_GENERATOR, faults, seeds)


async def compute_predictions(
    question: Question, files: Sequence[bytes], *, service: ServiceState, networks: Networks, admission: Admission
) -> Predicted:
    """Decode pictures and run the classifier on them, at nominal and at low voltage.

    Args:
        question: what is asked.
        files: the pictures.
        service: decodes, and runs the generator.
        networks: hands out the classifier and its weights.
        admission: of the request to the threads for numerics.

    Raises:
        UnsupportedMediaType, ContentTooLarge, UnprocessableContent: a file is no picture; the classifier cannot be run
            so; it would take too long.
    """
    pictures = await admission.run(_decode, files, question.description, service.settings.pixel_limit)
    network = await networks.get(question.artifact)
    counts = {"pictures": len(pictures), "seeds": len(question.seeds), "ways": question.ways}
    require_affordable(network, **counts, most_macs=networks.most_macs)
    generator, transformed, faults = question.generator, None, question.faults
    if generator is not None:
        transformed = await transform(generator, pictures, registry=service.models, batchers=service.batchers)
    scores = await admission.run(
        predict,
        network,
        pictures,
        transformed,
        faults=faults,
        seeds=question.seeds,
        read=lambda seed: networks.read(network, faults, seed),
    )
    energy = await estimate_energy(network, generator, rate=faults.rate, networks=networks)
    return Predicted(network, generator, energy, question.generator_wanted, pictures, transformed, scores)


def _faults_of(options: PredictionOptions) -> FaultModel:
    if options.voltage is None:
        rate = DEFAULT_RATE if options.bit_error_rate is None else options.bit_error_rate
    elif options.bit_error_rate is None:
        rate = rate_at(options.voltage)
    else:
        raise field_problem("/body/voltage", "A voltage stands in place of bit_error_rate; send one of them.")
    return FaultModel(rate, options.fault, options.layout)


def _require_classes(description: ClassifierDescription, top: int) -> None:
    count = len(description.labels)
    if top > count and top != PredictionOptions().top:
        raise field_problem("/body/top", f"{description.reference.name} has {count} classes; ask for no more.")


def _decode(files: Sequence[bytes], description: ClassifierDescription, limit: int) -> NDArray[np.float32]:
    with timed("pre"):
        return np.stack(
            [
                description.read(data, pixel_limit=limit, pointer=f"/body/file/{index}")
                for index, data in enumerate(files)
            ]
        )
