"""What the card of a released chest X-ray network says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.medical.chest_xray.films import PREPROCESSING
from services.medical.chest_xray.roles import ATTENTION, CLASSES, EVIDENCE, FILM, FRONTAL, LOGITS, OPACITY, PARAMETER
from services.medical.chest_xray.training import card_texts
from services.medical.chest_xray.training.data.preparation import PreparedFilms
from services.medical.chest_xray.training.exports import BATCH, output_shapes
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.screening import ScreeningHead
from services.medical.chest_xray.training.stages.recipes import Recipe
from services.medical.chest_xray.training.stages.run import FinishedRun
from services.medical.chest_xray.training.targets.observer import OBSERVER
from services.medical.chest_xray.training.targets.simulation import GENERATOR
from shared.runtime.cards import (
    Baseline,
    ModelCard,
    Parity,
    Quality,
    RuntimeOptions,
    TensorDescription,
    TrainingRecord,
    Weights,
)
from shared.runtime.models.releases import NOT_MEASURED


@dataclass(frozen=True, slots=True)
class Origin:
    """How a run came about.

    Attributes:
        recipe: of it.
        machine: in words.
        command: that trains it.
    """

    recipe: Recipe
    machine: str
    command: str


def make_card(
    weights: Weights,
    run: FinishedRun,
    screening: ScreeningHead,
    origin: Origin,
    train: PreparedFilms,
    *,
    name: str,
    version: str,
) -> ModelCard:
    """The card without what is measured."""
    options = origin.recipe.network
    stated = {
        "trained": options.trained_stages,
        "filters": options.filters,
        "stride": options.stride,
        "height": options.size[0],
        "width": options.size[1],
    }
    return ModelCard(
        name=name,
        version=version,
        task=card_texts.TASK,
        paper=card_texts.PAPER,
        licence=card_texts.LICENCE,
        inputs=[_film(run.network)],
        outputs=_outputs(run.network),
        weights=weights,
        training=_training(run, origin, train),
        **NOT_MEASURED,
        limits=card_texts.LIMITS,
        choices=[*(choice.format(**stated) for choice in card_texts.CHOICES), card_texts.STORAGE],
        parameters={
            PARAMETER: {
                "classes": list(CLASSES),
                "size": list(options.size),
                "frontal_threshold": round(screening.threshold, 4),
                "preprocessing": PREPROCESSING,
                "temperature": round(run.calibration.temperature, 4),
                "opacity_temperature": round(run.calibration.opacity_temperature, 4),
            }
        },
        runtime=RuntimeOptions(on_demand=True),
    )


def with_refusals(card: ModelCard, rate: float, place: str) -> ModelCard:
    """The card with the share of held-out films that its threshold refuses."""
    stated: Any = card.parameters[PARAMETER]
    refusals = {"false_refusal_rate": round(rate, 4), "false_refusal_data": place}
    return card.model_copy(update={"parameters": card.parameters | {PARAMETER: stated | refusals}})


def quality_of(
    figures: Mapping[str, Any], place: str, baselines: Mapping[str, Baseline] | None = None
) -> list[Quality]:
    """Rows of the card out of `figures.measure_*`; what could not be measured is left out.

    Args:
        figures: `diagnosis`, `inserted`, `boxes`, as `figures.measure_run` names them.
        place: what they were measured on, in words.
        baselines: of `measured_baselines` on the same films, by the class; chance where there is none.
    """
    beside = {} if baselines is None else baselines
    rows: list[Quality] = []
    diagnosis = figures["diagnosis"]
    if (opacity := diagnosis.get("opacity")) is not None and None not in opacity["auc"]:
        said = f"{place}: {opacity['films']} that a radiologist judged, {opacity['positive']} with an opacity"
        rows.append(_area("AUC of lung opacity against the rest", said, opacity["auc"], beside.get("opacity")))
    areas = {name: diagnosis["fusion"][name] for name in CLASSES}
    rows += [
        _area(f"AUC of {name} (text-mined) against the rest", place, area, beside.get(name))
        for name, area in areas.items()
        if None not in area
    ]
    for measure in ("CC", "KL", "HS"):
        said = f"attention on inserted findings, {measure}"
        rows.append(_beside(said, f"{place}, normal ones with inserted findings", figures["inserted"], measure))
    for measure, words in (("pointing", "pointing game"), ("energy", "share inside")):
        if measure in figures["boxes"]["network"]:
            count = figures["boxes"]["network"]["films"]
            said = f"attention and a radiologist's boxes, {words}"
            rows.append(_beside(said, f"{place}, {count} with boxes", figures["boxes"], measure))
    return rows


def measured_baselines(figures: Mapping[str, Any], films: int) -> dict[str, Baseline]:
    """What areas are to be read beside: the best baseline for opacities, the floor for classes mined from text.

    A random network tells text-mined classes apart by exposure, so an area near its own says nothing of lungs.

    Args:
        figures: of `evaluation/figures.json`.
        films: of the test part that the network is measured on; nothing is stated for other films.
    """
    if figures["films"]["by_split"]["test"] != films:
        return {}
    measured = figures["diagnosis"]["fixed split"]
    best, floor = measured["reference"], "random network, seed 0"
    found = {
        "opacity": Baseline(name=f"{best}, linear head", value=round(measured["opacity"][best]["auc"]["value"], 4))
    }
    for name in CLASSES:
        value = measured["text_mined"][floor][name]["all"]["value"]
        found[name] = Baseline(name="random network, linear head", value=round(value, 4))
    return found


def _area(metric: str, dataset: str, area: Sequence[float], baseline: Baseline | None) -> Quality:
    value, low, high = area
    beside = baseline or Baseline(name="chance", value=0.5)
    return Quality(metric=metric, dataset=dataset, value=value, unit="", interval=(low, high), baseline=beside)


def _beside(metric: str, dataset: str, figures: Mapping[str, Any], measure: str) -> Quality:
    prior = Baseline(name="mean map of training films with inserted findings", value=figures["mean map"][measure])
    unit = "nats" if measure == "KL" else ""
    return Quality(metric=metric, dataset=dataset, value=figures["network"][measure], unit=unit, baseline=prior)


def parity_of(whole: Mapping[str, float], halved: Mapping[str, float], films: int) -> Parity:
    """Differences of the graph, and of the file, whose weights are rounded."""
    scored = (LOGITS, OPACITY)
    each = "; ".join(f"{name} {whole[name]:.2g}, {halved[name]:.2g}" for name in whole)
    return Parity(
        reference=f"the trained network in torch, {films} films; of logits, by the graph in single precision. By "
        f"output, of that graph and of the file with weights in half precision, maps over their largest value: {each}",
        max_abs_difference=max(whole[name] for name in scored),
    )


def describe(films: PreparedFilms, split: str) -> str:
    """A part of the films in words."""
    patients = len({film.patient for film in films.films})
    return f"NIH ChestX-ray14, {split} part: {len(films)} films of {patients} patients"


def _training(run: FinishedRun, origin: Origin, train: PreparedFilms) -> TrainingRecord:
    films, recipe = train.films, origin.recipe
    counts = {
        "films": len(films),
        "patients": len({film.patient for film in films}),
        "judged": sum(film.opacity is not None for film in films),
        "boxed": sum(bool(film.boxes) for film in films),
        "count": recipe.simulation.train,
        "normals": sum(film.normal for film in films),
        "generator": GENERATOR,
        "observer": OBSERVER,
    }
    data = [text.format(**counts) for text in (card_texts.FILMS, card_texts.OPACITIES, card_texts.INSERTED)]
    if recipe.network.first == "lite0":
        data.append(card_texts.IMAGENET)
    return TrainingRecord(
        data=data,
        procedure=_procedure(recipe),
        seed=recipe.seed,
        machine=origin.machine,
        hours=round(run.hours, 2),
        command=origin.command,
    )


def _procedure(recipe: Recipe) -> str:
    stages = (
        ("0, inserted findings and text-mined tags", recipe.pretraining),
        ("1a, triplet loss", recipe.contrastive),
        ("1b, cross-entropy of the first encoder's classifier", recipe.classifier),
        ("2, Kullback-Leibler divergence of attention, first encoder frozen", recipe.attention),
        ("3, cross-entropy of the fusion classifier, all else frozen", recipe.fusion),
        ("all losses at once", recipe.joint),
    )
    said = [
        f"{about}: {stage.epochs} epochs of {stage.steps} steps of {stage.batch} films at most, Adam, learning rate "
        f"{stage.schedule.learning_rate:g}, {stage.schedule.factor:g} times as high after "
        f"{stage.schedule.patience + 1} epochs without improvement on validation films, whose best weights were taken"
        for about, stage in stages
        if stage is not None
    ]
    return (
        "Stages "
        + "; ".join(said)
        + "; then ridge logistic regression for the head of opacities, and for that of frontal films beside it"
    )


def _film(network: ChestXrayNetwork) -> TensorDescription:
    return TensorDescription(
        name=FILM,
        dtype="float32",
        shape=[BATCH, 1, *network.options.size],
        unit="grey value, 1 = white",
        range=(0, 1),
        description="A frontal film, bones white, padded and scaled to this size; see parameters.chest_xray",
    )


def _outputs(network: ChestXrayNetwork) -> list[TensorDescription]:
    texts = {
        LOGITS: "Of the classes, calibrated; their soft-max are probabilities",
        OPACITY: "Logit of an opacity as a radiologist would call it, calibrated",
        ATTENTION: "Predicted attention, not measured gaze: a density that sums to 1 over the film",
        EVIDENCE: "Grad-CAM of each class before its rectifier, on the last map of the first encoder",
        FRONTAL: "Logit of a frontal chest film, upright, bones white, against other pictures",
    }
    return [
        TensorDescription(name=name, dtype="float32", shape=shape, unit="", description=texts[name])
        for name, shape in output_shapes(network).items()
    ]
