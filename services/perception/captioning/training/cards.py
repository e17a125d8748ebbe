"""What the cards of a captioner's two models say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.perception.captioning.roles import ATTENTION, LOG_PROBABILITIES, NEXT, PARAMETER, WORDS, EncoderRole
from services.perception.captioning.training.exports import PAST, PICTURES
from services.perception.captioning.training.features import PREPROCESSING
from services.perception.captioning.training.runs import FinishedRun
from shared.imaging.preprocessing import PARAMETER as PREPROCESSING_PARAMETER
from shared.runtime.cards import (
    Baseline,
    ModelCard,
    Paper,
    Quality,
    RuntimeOptions,
    TensorDescription,
    TrainingRecord,
    Weights,
)
from shared.runtime.inspection.onnx_file import TensorFact, read_onnx
from shared.runtime.models.releases import NOT_MEASURED

ROWS: Final = 1
"""Pictures of one run of the encoder: several are no quicker each, and take ten megabytes of feature maps each."""

Measured = Mapping[str, float]
"""Figures by name of the metric."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came about.

    Attributes:
        photographs: how many were trained on.
        hours: of the run and of the one that it goes on from.
        machine: in words.
        command: that trains it.
        before: epochs of the run that it goes on from, 0 without one.
    """

    photographs: int
    hours: float
    machine: str
    command: str
    before: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a run.

    Attributes:
        dataset: that it was measured on, in words.
        kinds: figures of `beams`, `greedy`, `neighbours-1` and `neighbours-10`.
    """

    dataset: str
    kinds: Mapping[str, Measured]


_PAPERS: Final = {
    "lstm": Paper(
        title="Show, Attend and Tell: Neural Image Caption Generation with Visual Attention",
        authors="K. Xu, J. Ba, R. Kiros, K. Cho, A. Courville, R. Salakhutdinov, R. Zemel, Y. Bengio",
        url="https://arxiv.org/abs/1502.03044",
    ),
    "transformer": Paper(
        title="Attention Is All You Need",
        authors="A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. N. Gomez, L. Kaiser, I. Polosukhin",
        url="https://arxiv.org/abs/1706.03762",
    ),
}
_NETWORKS: Final = {
    "lstm": "Soft attention and an LSTM",
    "transformer": "A Transformer decoder of three layers and four heads, normalisation first",
}
_BACKBONES: Final = {"lite0": "EfficientNet-Lite0", "lite2": "EfficientNet-Lite2"}
_LICENCE: Final = "Apache-2.0 (these weights; the photographs have terms of their own, see limits)"
_CAVEATS: Final = [
    (
        "The captioner describes anything in words and scenes of Flickr8k, mostly people and dogs out of doors; what "
        "it says need not be on the picture."
    )
]
_LIMITS: Final = [
    (
        "Trained on Flickr8k: people, dogs, sports, out of doors. It knows few words beyond these scenes, and "
        "describes anything in them; numbers, colours and sexes are often guessed."
    ),
    (
        "The photographs it was trained on had 112 x 112 pixels, their sides scaled apart: sharper pictures and other "
        "shapes are not what it learned from."
    ),
    "The whole picture is scaled to a square, whatever its shape.",
    "No adversarial training: it is meant to be attacked.",
    "One run. Flickr8k: photographs belong to Flickr's users, research use; ImageNet has terms of its own.",
]


def encoder_card(
    weights: Weights, run: FinishedRun, origin: Origin, *, name: str, version: str, side: int
) -> ModelCard:
    """Card of the model that reads pictures; tensors beside the pictures are described by `with_tensors`."""
    pictures = TensorDescription(
        name=PICTURES,
        dtype="float32",
        shape=["batch", 3, side, side],
        unit="RGB, 1 = white",
        range=(0, 1),
        description="The whole picture, see parameters.preprocessing; normalised in the graph",
    )
    return ModelCard(
        name=f"{name}-encoder",
        version=version,
        task=f"Reads pictures for {name}, which captions them",
        paper=Paper(
            title="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
            authors="M. Tan, Q. V. Le",
            url="https://arxiv.org/abs/1905.11946",
        ),
        licence=f"{_LICENCE}; weights of the backbone: Apache-2.0, see NOTICE beside the file",
        inputs=[pictures],
        outputs=[],
        weights=weights,
        training=_training(run, origin),
        **NOT_MEASURED,
        limits=_LIMITS,
        choices=[
            (
                f"{_BACKBONES.get(run.recipe.encoder, run.recipe.encoder)} without its head; places are those of its "
                "fifth stage (stride 16), to each of which the place of the last stage over it is added."
            ),
        ],
        parameters={PREPROCESSING_PARAMETER: PREPROCESSING.model_dump(), PARAMETER: EncoderRole().model_dump()},
        runtime=RuntimeOptions(on_demand=True, batch_rows=ROWS),
    )


def decoder_card(
    weights: Weights, run: FinishedRun, origin: Origin, *, name: str, version: str, parameters: dict[str, Any]
) -> ModelCard:
    """Card of the model that writes words; its tensors are described by `with_tensors`."""
    warm_up = {"warm_up": {PAST: 1}} if run.captioner.decoder.GROWING else {}
    return ModelCard(
        name=name,
        version=version,
        task=f"Captions photographs in English, with {name}-encoder",
        paper=_PAPERS[run.recipe.decoder],
        licence=_LICENCE,
        inputs=[],
        outputs=[],
        weights=weights,
        training=_training(run, origin),
        **NOT_MEASURED,
        limits=_LIMITS,
        choices=[
            (
                f"{_NETWORKS[run.recipe.decoder]}, {run.recipe.width} channels; embeddings of words are tied "
                "to the output."
            ),
            (
                f"Words that occur at least {run.recipe.minimum_count} times in the captions trained on: "
                f"{len(run.vocabulary)} with four special ones."
            ),
            (
                f"Label smoothing {run.recipe.label_smoothing}; weight of the penalty on places that are not looked at "
                f"about once {run.recipe.coverage}. No training by rewards."
            ),
            "Attention of the Transformer is that of its last layer, the mean of its heads."
            if run.recipe.decoder == "transformer"
            else "The first state of the LSTM is computed from the mean of places, as in the paper.",
        ],
        parameters={**parameters, "caveats": list(_CAVEATS), **warm_up},
        runtime=RuntimeOptions(on_demand=True, arena=True),
    )


def with_tensors(card: ModelCard, content: bytes) -> ModelCard:
    """The card with those inputs and outputs of its file that it does not describe yet."""
    facts = read_onnx(content)
    described = {one.name: one for one in (*card.inputs, *card.outputs)}
    inputs, outputs = (
        [described.get(fact.name) or _describe(fact) for fact in facts] for facts in (facts.inputs, facts.outputs)
    )
    return card.model_copy(update={"inputs": inputs, "outputs": outputs})


def with_quality(card: ModelCard, figures: Figures) -> ModelCard:
    """The card with what was measured: beams and greedy search beside captions of similar photographs."""
    ways = (
        ("best of 3 beams", "beams", "neighbours-10", "the caption on which those of 10 similar photographs agree"),
        ("greedy", "greedy", "neighbours-1", "a caption of the most similar photograph"),
    )
    quality = [
        Quality(
            metric=f"{metric}, {way}",
            dataset=figures.dataset,
            value=round(value, 4),
            unit="",
            baseline=Baseline(name=name, value=round(figures.kinds[beside][metric], 4)),
        )
        for way, kind, beside, name in ways
        for metric, value in figures.kinds[kind].items()
    ]
    return card.model_copy(update={"quality": quality})


def _training(run: FinishedRun, origin: Origin) -> TrainingRecord:
    recipe = run.recipe
    tuned = (
        f", after {origin.before} epochs with the backbone as published; its last stages at {recipe.tail_learning_rate}"
        if recipe.tail_learning_rate > 0
        else "; the backbone stayed as published"
    )
    best = run.log[run.epoch - 1]
    procedure = (
        f"Cross-entropy of words on features of the backbone, {recipe.epochs} epochs of AdamW, batches of "
        f"{recipe.batch} photographs with their five captions, mirrored or not, learning rate {recipe.learning_rate} "
        f"falling along a cosine, weight decay {recipe.weight_decay}, dropout {recipe.dropout}{tuned}. Epoch "
        f"{run.epoch} had the best greedy captions of the validation photographs: CIDEr-D {best['CIDEr-D']:.3f}, "
        f"BLEU-4 {best['BLEU-4']:.3f}"
    )
    return TrainingRecord(
        data=[
            (
                f"Flickr8k (Hodosh et al. 2013): {origin.photographs} photographs of our own split, scaled to 112 x "
                "112, five captions each"
            ),
            "ImageNet-1k (ILSVRC 2012), by Google: the backbone",
        ],
        procedure=procedure,
        seed=recipe.seed,
        machine=origin.machine,
        hours=origin.hours,
        command=origin.command,
    )


_KNOWN: Final = {
    WORDS: ("number", "The last word of each row"),
    LOG_PROBABILITIES: ("nat", "Of the next word"),
    ATTENTION: ("", "Where the next word looks; each row sums to 1"),
}


def _describe(fact: TensorFact) -> TensorDescription:
    plain = fact.name.removeprefix(NEXT)
    unit, said = _KNOWN.get(fact.name, ("", f"{'After the word: ' if plain != fact.name else ''}{plain}"))
    shape = [side if side not in {None, -1} else "open" for side in fact.shape or ()]
    return TensorDescription(name=fact.name, dtype=fact.dtype, shape=shape, unit=unit, description=said)
