"""`make evaluate-low-dose-ct`: measures the released models, writes evaluation.json and the quality in their cards.

What the released network is compared with (from scratch, trained on few patients, trained on ellipses) lies beside this
file as half-precision checkpoints, so that one command without training makes every figure again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from services.medical.low_dose_ct.training import cards
from services.medical.low_dose_ct.training.chest import network_input
from services.medical.low_dose_ct.training.evaluate_chest import (
    LEVEL_FACTORS,
    TV_WEIGHTS,
    Enhance,
    chest_cases,
    chest_table,
    chosen_on_validation,
    evaluate_chest,
    plain_methods,
    with_network,
    with_total_variation,
)
from services.medical.low_dose_ct.training.evaluate_ellipses import ellipses_table, evaluate_ellipses
from services.medical.low_dose_ct.training.evaluate_photographs import (
    PUBLISHED,
    evaluate_photographs,
    photographs_table,
)
from services.medical.low_dose_ct.training.evaluate_range import (
    BEFORE,
    NOW,
    Answer,
    evaluate_range,
    range_table,
    service_answer,
)
from services.medical.low_dose_ct.training.inference import Denoise, network_denoiser, released_denoiser
from services.medical.low_dose_ct.training.release import release_folder
from services.medical.low_dose_ct.training.weights import CHECKPOINTS, load_network, load_record
from shared.runtime.cards import Quality, read_card
from shared.runtime.models.releases import MODEL_FILE, write_card
from shared.runtime.models.sessions import OnnxModel

Part = Literal["photographs", "chest", "range", "ellipses"]
PARTS: tuple[Part, ...] = get_args(Part)

EVALUATION_FILE = "evaluation.json"
RELEASED = "FBP + network, pretrained and fine-tuned (released)"
SCRATCH = "FBP + network, from scratch"
PLAIN = "FBP Hann 0.641"

STAGE_2 = "chest"
"""Checkpoint of the network before other doses and kernels; released as version 1.0.0."""

CHEST_CONTROLS = {
    "FBP + network, pretrained and fine-tuned (version 1.0.0)": STAGE_2,
    SCRATCH: "chest-scratch",
    "FBP + network, loss (1 - SSIM) + 5 L1": "chest-structural",
    "FBP + network, pretrained, 5 patients": "chest-5-patients",
    "FBP + network, from scratch, 5 patients": "chest-5-patients-scratch",
}
"""Networks that the released one is compared with on chest CT: name in the table, name of the checkpoint."""

ELLIPSES_NETWORKS = {
    "FBP + network, pretrained, 32 phantoms": "ellipses-32",
    "FBP + network, from scratch, 32 phantoms": "ellipses-32-scratch",
    "FBP + network, pretrained, 320 phantoms": "ellipses-320",
    "FBP + network, from scratch, 320 phantoms": "ellipses-320-scratch",
}
"""Networks measured on ellipses: name in the table, name of the checkpoint."""


def evaluate(data: Path, cache: Path, *, parts: Sequence[Part] = PARTS, ellipses: int = 500) -> str:
    """Measure the parts asked for, write evaluation.json and the cards' quality, and return the tables in Markdown.

    Args:
        data: folder of the data sets.
        cache: folder of noise-free sinograms.
        parts: photographs, chest, range, ellipses; what is not measured stays as it was.
        ellipses: number of ellipses test phantoms, at most 3,200.
    """
    gaussian = released_denoiser(release_folder(cards.GAUSSIAN) / MODEL_FILE)
    tables = []
    if "photographs" in parts:
        photographs = evaluate_photographs(gaussian, data)
        _write(cards.GAUSSIAN, "photographs", photographs)
        _write_quality(cards.GAUSSIAN, cards.gaussian_quality(photographs, _dncnn()))
        tables.append(photographs_table(photographs))
    if "chest" in parts:
        chest = _evaluate_chest(gaussian, data, cache)
        _write(cards.LOW_DOSE_CT, "chest", chest)
        _write_low_dose_quality()
        tables.append(chest_table(chest))
    if "range" in parts:
        beyond = evaluate_range({BEFORE: _network_alone(STAGE_2), NOW: service_answer(_released())}, data, cache)
        _write(cards.LOW_DOSE_CT, "range", beyond)
        _write_low_dose_quality()
        tables.append(range_table(beyond))
    if "ellipses" in parts:
        on_ellipses = evaluate_ellipses(committed_networks(ELLIPSES_NETWORKS), count=ellipses)
        _write(cards.LOW_DOSE_CT, "ellipses", on_ellipses)
        tables.append(ellipses_table(on_ellipses))
    return "\n\n".join(tables)


def committed_networks(names: Mapping[str, str]) -> dict[str, tuple[Denoise, float]]:
    """Denoisers of the committed checkpoints that exist, each with the noise level it was trained with."""
    found = {}
    for shown, name in names.items():
        file = CHECKPOINTS / f"{name}.pt"
        if file.exists():
            record = load_record(file)
            found[shown] = (network_denoiser(load_network(file, record["width"])), float(record["noise_level"]))
    return found


def _evaluate_chest(gaussian: Denoise, data: Path, cache: Path) -> dict[str, Any]:
    level = float(load_record(CHECKPOINTS / f"{STAGE_2}.pt")["noise_level"])
    answer = service_answer(_released())
    validation = chest_cases(data, cache, "val")
    told, untuned = chosen_on_validation(
        lambda value: with_network(gaussian, value), [level * factor for factor in LEVEL_FACTORS], validation
    )
    weight, smoothed = chosen_on_validation(with_total_variation, TV_WEIGHTS, validation)
    methods: dict[str, Enhance] = {
        **plain_methods(),
        "FBP + TV": smoothed,
        "FBP + untuned Gaussian denoiser": untuned,
        RELEASED: lambda sinogram: answer(network_input(sinogram))[0],
    }
    methods |= {name: with_network(*arm) for name, arm in committed_networks(CHEST_CONTROLS).items()}
    result = evaluate_chest(methods, chest_cases(data, cache, "test"), gains=_gains(methods))
    return {**result, "chosen_on_validation": {"untuned noise level": told, "TV weight": weight}}


def _released() -> OnnxModel:
    return OnnxModel.open(release_folder(cards.LOW_DOSE_CT), threads=torch.get_num_threads())


def _network_alone(checkpoint: str) -> Answer:
    """The whole answer of a committed network, whatever it is given."""
    ((denoise, level),) = committed_networks({checkpoint: checkpoint}).values()
    return lambda image: (denoise(image, level), 1.0)


def _gains(methods: Mapping[str, Enhance]) -> list[tuple[str, str]]:
    """Pairs (baseline, method) whose difference is of interest, of those that were measured."""
    wanted = [
        (PLAIN, RELEASED),
        ("FBP Hann 1.0", RELEASED),
        ("FBP + untuned Gaussian denoiser", RELEASED),
        (SCRATCH, RELEASED),
        ("FBP + network, from scratch, 5 patients", "FBP + network, pretrained, 5 patients"),
    ]
    return [pair for pair in wanted if set(pair) <= set(methods)]


def _dncnn() -> dict[int, float]:
    return next(row for name, row in PUBLISHED.items() if name.startswith("DnCNN-B"))


def _write(name: str, part: Part, result: dict[str, Any]) -> None:
    file = release_folder(name) / EVALUATION_FILE
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**known, part: _rounded(result)}, indent=2) + "\n", encoding="utf-8")


def _write_low_dose_quality() -> None:
    """Everything that was measured of the released network, now or earlier."""
    known = json.loads((release_folder(cards.LOW_DOSE_CT) / EVALUATION_FILE).read_text(encoding="utf-8"))
    quality = cards.low_dose_quality(known["chest"], RELEASED, PLAIN)
    if "range" in known:
        quality += cards.range_quality(known["range"], before=BEFORE, now=NOW)
    _write_quality(cards.LOW_DOSE_CT, quality)


def _write_quality(name: str, quality: list[Quality]) -> None:
    folder = release_folder(name)
    write_card(read_card(folder).model_copy(update={"quality": quality}), folder)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 5) if isinstance(value, float) else value
