"""The released folder of the diffusion model: file, parity, latency, figures and card."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from services.security.camouflage.optimisation.patterns.ddpm import EVALUATIONS
from services.security.camouflage.optimisation.patterns.diffusion import SIDE, STEPS, NoisePredictor
from services.security.camouflage.optimisation.patterns.prior_weights import PRIOR, read_prior
from services.security.camouflage.training.data import Photographs
from services.security.camouflage.training.exports import export_prior
from services.security.camouflage.training.samples import SampleFigures, draw_sheet, measure_samples
from shared.runtime.cards import (
    Baseline,
    ModelCard,
    Paper,
    Parity,
    Quality,
    RuntimeOptions,
    TensorDescription,
    TrainingRecord,
)
from shared.runtime.models.releases import NOT_MEASURED, measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

VERSION: Final = "1.0.0"
MODELS: Final = Path(__file__).parents[2] / "models"
"""Released models of the security service."""

_PAPER: Final = Paper(
    title="Flexible Physical Camouflage Generation Based on a Differential Approach",
    authors="Y. Li, W. Tan, T. Wang, X. Liang, Q. Pan",
    url="https://arxiv.org/abs/2402.13575",
)
_HELD_OUT: Final = "crops of 20 photographs of BSDS500 that no training crop is from, and textures in their colours"


@dataclass(frozen=True, slots=True)
class _Stage:
    """A finished run."""

    name: str
    state: Mapping[str, Any]

    @property
    def recipe(self) -> Mapping[str, Any]:
        recipe: Mapping[str, Any] = self.state["recipe"]
        return recipe


def release(folder: Path, photos: Photographs, held_out: Photographs, command: str, models: Path = MODELS) -> Path:
    """Export and card the mean weights of a finished run; its sample sheet is written into the run's folder.

    Args:
        folder: of the run.
        photos: it was trained with.
        held_out: it was validated with.
        command: that made the run, without options.
        models: folder of released models.

    Returns:
        The released folder.

    Raises:
        ValueError: the run is not finished.
    """
    stages = _read_stages(folder)
    trained = NoisePredictor()
    trained.load_state_dict(stages[-1].state["mean"])
    content = export_prior(trained)
    network = read_prior(content)
    Image.fromarray(draw_sheet(network)).save(folder / "samples.png")
    last = json.loads((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    figures = measure_samples(network, photos, held_out, last["validation"], stages[-1].recipe.get("least_step", 0))
    card = _card(content, stages, figures, command)
    model = OnnxModel(card, content, threads=1)
    inputs: dict[str, NDArray[Any]] = {
        "pictures": np.zeros((1, 3, SIDE, SIDE), np.float32),
        "steps": np.zeros(1, np.int64),
    }
    latency = measure_latency(model, inputs, what=f"one picture of {SIDE}x{SIDE}")
    released = models / PRIOR / VERSION
    write_release(released, content, card.model_copy(update={"parity": _parity(network, model), "latency": latency}))
    return released


def _read_stages(folder: Path) -> list[_Stage]:
    """A run behind those that it goes on from."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    recipe = state["recipe"]
    if state["step"] < recipe["steps"]:
        raise ValueError(f"{folder} has done {state['step']} of {recipe['steps']} steps")
    before = _read_stages(folder.parent / recipe["start"]) if recipe.get("start") else []
    return [*before, _Stage(folder.name, state)]


@torch.no_grad()
def _parity(network: NoisePredictor, model: OnnxModel) -> Parity:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(16, 3, SIDE, SIDE, generator=generator)
    steps = torch.linspace(0, STEPS - 1, 16).long()
    computed = model.run({"pictures": pictures.numpy(), "steps": steps.numpy()})[0]
    difference = float(np.abs(network(pictures, steps).numpy() - computed).max())
    return Parity(
        reference=f"torch {torch.__version__} with the file's weights, 16 steps", max_abs_difference=difference
    )


def _card(content: bytes, stages: Sequence[_Stage], figures: SampleFigures, command: str) -> ModelCard:
    noisy = TensorDescription(
        name="pictures",
        dtype="float32",
        shape=["batch", 3, SIDE, SIDE],
        unit="RGB, -1 = black, 1 = white, with noise",
        description="Noisy textures: amplitude of the picture times it, plus amplitude of the noise times that",
    )
    return ModelCard(
        name=PRIOR,
        version=VERSION,
        task="Predicts the noise in textures (eps_theta of a diffusion model of camouflage and natural textures)",
        paper=_PAPER,
        licence="Apache-2.0 (these weights; the photographs have terms of their own, see limits)",
        inputs=[
            noisy,
            TensorDescription(
                name="steps",
                dtype="int64",
                shape=["batch"],
                unit="steps of the schedule",
                range=(0, STEPS - 1),
                description="How noisy each is",
            ),
        ],
        outputs=[
            noisy.model_copy(
                update={"name": "noise", "unit": "standard deviations", "description": "The noise in them"}
            )
        ],
        weights=weights_of(content),
        training=_training(stages, command),
        **{**NOT_MEASURED, "quality": _quality(figures)},
        limits=[
            "It knows crops of 64 x 64: no object, no large shape.",
            "Samples look like blurred foliage, rock and cloud; sharp patches of camouflage do not come out of it.",
            "They have less contrast than pictures, and are nearer to training pictures by just as much.",
            "The loss on held-out pictures was still falling when training ended.",
            "Trained for under an hour on a processor: a small model of a small set, not a general prior of pictures.",
            "BSDS500: Berkeley's terms (research use) were not verified.",
            "For the simulated cars of this service; no texture of it was ever printed or tried on a real one.",
        ],
        choices=[
            "The abstract's diffusion model: the released code of the paper has none (a U-Net on fixed noise).",
            f"Cosine schedule of {STEPS} steps up to 97 % of the way: the last keeps 5 % of the picture's amplitude.",
            "The network's own output is the velocity, of which the graph makes the noise.",
            "Weights are stored in half precision and computed with in single; torch reads them from the same file.",
            f"Textures are decoded by deterministic DDIM in {EVALUATIONS} evaluations.",
            "In a decoding convolutions go on at the opposite edge, which training does not have, so that edges meet.",
        ],
        runtime=RuntimeOptions(on_demand=True),
        parameters={"camouflage": {"role": "prior", "side": SIDE, "steps": STEPS}},
    )


def _training(stages: Sequence[_Stage], command: str) -> TrainingRecord:
    return TrainingRecord(
        data=[
            "BSDS500, training part: 180 photographs, crops of 64 x 64 at whole and half size",
            "Textures like camouflage of six families (random_textures.py), in colours of photographs or drawn ones",
        ],
        procedure="Half photographs, half textures; mean squared error of the velocity in bfloat16; the running mean "
        f"of weights is released. {'; then '.join(_procedure(one.recipe) for one in stages)}",
        seed=stages[-1].recipe["seed"],
        machine=f"{platform.machine()} CPU, one thread, shared with other work",
        hours=round(sum(one.state["seconds"] for one in stages) / 3600, 2),
        command=" && ".join(_command(command, one) for one in stages),
    )


def _procedure(recipe: Mapping[str, Any]) -> str:
    return (
        f"{recipe['steps']} batches of {recipe['batch']}, Adam, learning rate {recipe['learning_rate']} falling along "
        f"a cosine, noise of step {recipe.get('least_step', 0)} and above"
    )


def _command(command: str, stage: _Stage) -> str:
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in stage.recipe.items() if value != "")
    return f"{command} --out runs/{stage.name} --threads 1 train {options}"


def _quality(figures: SampleFigures) -> list[Quality]:
    def one(metric: str, value: float, name: str, baseline: float) -> Quality:
        beside = Baseline(name=name, value=round(baseline, 4))
        return Quality(metric=metric, dataset=_HELD_OUT, value=round(value, 4), unit="", baseline=beside)

    decoded = f"of samples of {EVALUATIONS} evaluations"
    return [
        one(
            "mean squared error of the velocity",
            figures.validation,
            "best for pixels that are normal and independent",
            figures.gaussian,
        ),
        one(
            f"root mean square difference {decoded} to the nearest of 3,000 training pictures",
            figures.neighbour,
            "of held-out pictures; far less would mean copies",
            figures.held_out_neighbour,
        ),
        one(f"deviation of pixels {decoded}", figures.contrast, "of held-out pictures", figures.held_out_contrast),
    ]
