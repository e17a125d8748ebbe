"""What the routes say: predictions in JSON, pictures beside what the protected classifier sees, lists of generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.neuralfuse.energy import (
    GENERATOR_COUNTS,
    LOW_ENERGY_RATIO,
    EnergyEstimate,
    published_estimates,
)
from services.security.neuralfuse.estimates import Energy
from services.security.neuralfuse.generators import Generator
from services.security.neuralfuse.inference import ProtectedScores, VoltageScores
from services.security.neuralfuse.networks import Network
from services.security.neuralfuse.roles import BaseRole
from services.security.neuralfuse.schemas import (
    BaseDescription,
    ChipPrediction,
    ClassProbability,
    EnergyBlock,
    FaultDescription,
    GeneratorDescription,
    GeneratorLinks,
    GeneratorList,
    LowVoltagePair,
    LowVoltagePrediction,
    NominalPair,
    NominalPrediction,
    PicturePrediction,
    PredictionAnswer,
    TrainedFor,
    UsedGenerator,
    Vote,
)
from services.security.neuralfuse.schemas import EnergyEstimate as StatedEstimate
from services.security.neuralfuse.voltages import HIGHEST, LOWEST, rate_at, voltage_at
from shared.imaging.pictures import encode_png
from shared.imaging.sheets import Panel, sheet
from shared.runtime.cards import UploadedCard, reference_of

SIMULATED: Final = "The bit errors are simulated on eight-bit copies of the weights; no chip was measured."
TRANSFORMED: Final = "A transformed picture is for this classifier to look at, and for nobody else."
UNPROTECTED: Final = "No generator was trained for this classifier, so that nothing here is protected."
NO_VOLTAGE: Final = (
    f"No voltage is known for this bit error rate, so that nothing can be said of energy: the model goes from "
    f"{rate_at(HIGHEST):.3%} to {rate_at(LOWEST):.2%}."
)
TRANSFERRED: Final = (
    "The generator was trained for another classifier than this one: what it protects may be little, and at nominal "
    "voltage it may do harm."
)

_PANEL_SIDE: Final = 384
"""Wide enough for a caption with the longest name of a sign."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A request that has been computed.

    Attributes:
        network: the classifier.
        generator: that pictures passed; None for none.
        energy: what low voltage saves.
        wanted: whether a generator was wanted.
        pictures: RGB in [0, 1], float32 (count, 3, height, width).
        transformed: the same behind the generator.
        scores: of all ways.
    """

    network: Network
    generator: Generator | None
    energy: Energy
    wanted: bool
    pictures: NDArray[np.float32]
    transformed: NDArray[np.float32] | None
    scores: ProtectedScores


def describe_predictions(predicted: Predicted, *, top: int) -> PredictionAnswer:
    """The answer in words and numbers."""
    scores, network = predicted.scores, predicted.network
    return PredictionAnswer(
        predictions=[_describe_picture(predicted, index, top) for index in range(len(predicted.pictures))],
        faults=FaultDescription(
            kind=scores.faults.kind,
            layout=scores.faults.layout,
            bit_error_rate=scores.faults.rate,
            voltage=voltage_at(scores.faults.rate),
            flip_rate=scores.flip_rate,
            weights=network.memory.count,
            quantised_here=not network.memory.quantised_by_graph,
        ),
        energy=EnergyBlock(
            ratio=predicted.energy.ratio, estimates=list(map(_state_estimate, predicted.energy.estimates))
        ),
        generator=None if predicted.generator is None else _used(predicted.generator, network),
        model=network.description.reference,
        caveats=_caveats(predicted),
    )


def _caveats(predicted: Predicted) -> list[str]:
    generator, network = predicted.generator, predicted.network
    found = [*network.description.caveats, SIMULATED]
    if predicted.energy.ratio is None:
        found.append(NO_VOLTAGE)
    if generator is not None:
        found.append(TRANSFORMED)
        if not generator.was_trained_for(network.description.reference):
            found.append(TRANSFERRED)
    elif predicted.wanted:
        found.append(UNPROTECTED)
    return found


def _describe_picture(predicted: Predicted, index: int, top: int) -> PicturePrediction:
    scores, labels = predicted.scores, predicted.network.description.labels
    expected = int(scores.unprotected.nominal[index].argmax())

    def nominal(one: VoltageScores) -> NominalPrediction:
        return NominalPrediction(top=_top(one.nominal[index], labels, top))

    def low(one: VoltageScores) -> LowVoltagePrediction:
        return _describe_low(one.low[:, index], labels, scores.seeds, top=top, expected=expected)

    protected = scores.protected
    return PicturePrediction(
        index=index,
        nominal=NominalPair(
            unprotected=nominal(scores.unprotected), protected=None if protected is None else nominal(protected)
        ),
        low_voltage=LowVoltagePair(
            unprotected=low(scores.unprotected), protected=None if protected is None else low(protected)
        ),
    )


def _top(probabilities: NDArray[np.float32], labels: Sequence[str], count: int) -> list[ClassProbability]:
    order = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return [
        ClassProbability(class_id=label, name=labels[label], probability=_share(probabilities[label]))
        for label in order
    ]


def _describe_low(
    probabilities: NDArray[np.float32], labels: Sequence[str], seeds: Sequence[int], *, top: int, expected: int
) -> LowVoltagePrediction:
    """Of one picture: probabilities are (seeds, classes)."""
    classes = probabilities.argmax(axis=1)
    return LowVoltagePrediction(
        top=_top(probabilities.mean(axis=0), labels, top),
        vote=_vote(probabilities, labels),
        agreement=float((classes == expected).mean()),
        seeds=[
            ChipPrediction(seed=seed, class_id=label, name=labels[label], probability=_share(row[label]))
            for seed, label, row in zip(seeds, classes.tolist(), probabilities, strict=True)
        ],
    )


def _vote(probabilities: NDArray[np.float32], labels: Sequence[str]) -> Vote:
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(labels))
    mean = probabilities.mean(axis=0)
    label = max(np.flatnonzero(counts == counts.max()).tolist(), key=lambda one: float(mean[one]))
    return Vote(class_id=label, name=labels[label], share=float(counts[label] / len(probabilities)))


def _share(probability: np.float32) -> float:
    """A probability of single precision, which may have been rounded to a hair above one."""
    return min(1.0, float(probability))


def _used(generator: Generator, network: Network) -> UsedGenerator:
    return UsedGenerator(
        model=generator.reference,
        architecture=generator.role.architecture,
        trained_for=_trained_for(generator),
        transferred=not generator.was_trained_for(network.description.reference),
    )


def _trained_for(generator: Generator) -> TrainedFor:
    return TrainedFor(**generator.role.model_dump(include=set(TrainedFor.model_fields)))


def _state_estimate(estimate: EnergyEstimate) -> StatedEstimate:
    return StatedEstimate(
        source=estimate.source,
        base=estimate.base,
        generator=estimate.generator,
        generator_share=estimate.generator_share,
        saving_percent=estimate.saving_percent,
    )


def draw_predictions(predicted: Predicted) -> bytes:
    """A PNG: each picture as the classifier sees it, and beside it as it sees it behind the generator."""
    scores = predicted.scores
    rows = []
    for index, picture in enumerate(predicted.pictures):
        expected = int(scores.unprotected.nominal[index].argmax())
        panels = [_panel(predicted, picture, "as it is", scores.unprotected, index, expected)]
        if predicted.transformed is not None and scores.protected is not None:
            panels.append(
                _panel(predicted, predicted.transformed[index], "protected", scores.protected, index, expected)
            )
        rows.append(panels)
    return encode_png(sheet(rows, panel_side=_PANEL_SIDE))


def _panel(
    predicted: Predicted,
    picture: NDArray[np.float32],
    title: str,
    scores: VoltageScores,
    index: int,
    expected: int,
) -> Panel:
    labels, chips = predicted.network.description.labels, scores.low[:, index]
    nominal = int(scores.nominal[index].argmax())
    vote = _vote(chips, labels)
    agreeing = int((chips.argmax(axis=1) == expected).sum())
    pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    caption = (
        f"{title}: {labels[nominal]} {scores.nominal[index, nominal]:.0%}\n"
        f"low voltage: {vote.name} ({agreeing}/{len(chips)} agree)"
    )
    return Panel(pixels, caption)


def describe_generators(
    generators: Sequence[Generator], bases: Sequence[tuple[UploadedCard, BaseRole]], *, path: str
) -> GeneratorList:
    """All generators, each with what it saves with its classifier.

    Args:
        generators: of the service.
        bases: classifiers that were released for them.
        path: of the capability.
    """
    networks = {(card.name, card.weights.sha256): role.network for card, role in bases}
    return GeneratorList(
        generators=[
            _describe_generator(one, networks.get((one.role.base, one.role.base_sha256)), path) for one in generators
        ],
        bases=[BaseDescription(model=reference_of(card), network=role.network) for card, role in bases],
    )


def _describe_generator(generator: Generator, network: str | None, path: str) -> GeneratorDescription:
    card, counts = generator.card, GENERATOR_COUNTS.get(generator.role.architecture)
    estimates = published_estimates(network, generator.role.architecture, side=(32, 32), ratio=LOW_ENERGY_RATIO)
    return GeneratorDescription(
        name=card.name,
        version=card.version,
        weights_sha256=card.weights.sha256,
        architecture=generator.role.architecture,
        parameters=None if counts is None else counts.parameters,
        macs=None if counts is None else counts.macs,
        trained_for=_trained_for(generator),
        base_released=network is not None,
        quality=card.quality,
        energy=list(map(_state_estimate, estimates)),
        links=GeneratorLinks(fused_model=f"{path}/generators/{card.name}/fused-model", model=f"/v1/models/{card.name}"),
    )
