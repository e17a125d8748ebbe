"""The training runs: which data, which start, which loss, which budget. Every run writes what it was to run.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from services.medical.low_dose_ct.training.chest import chest_pairs, chest_slices, phantom_pairs
from services.medical.low_dose_ct.training.data import GaussianNoisePairs, Pair, ReconstructionPairs, mean_error_level
from services.medical.low_dose_ct.training.dose_range import (
    LARGEST_LEVEL,
    LEAST_LEVEL,
    TYPICAL_LEVEL,
    DoseRangePairs,
    training_reconstructions,
)
from services.medical.low_dose_ct.training.ellipses import ellipses_pairs
from services.medical.low_dose_ct.training.losses import LOSSES
from services.medical.low_dose_ct.training.network import WIDTHS, DRUNet
from services.medical.low_dose_ct.training.photographs import held_out_files, read_grayscale, training_files
from services.medical.low_dose_ct.training.train import Budget, Draw, Measure, Training
from services.medical.low_dose_ct.training.validation import measure_denoising, measure_pairs
from services.medical.low_dose_ct.training.weights import (
    INTERPOLATED,
    interpolate,
    load_network,
    load_record,
    save_half,
)

NO_INITIAL = "none"
"""Value of --initial for a network that starts from random weights (the control)."""


@dataclass(frozen=True, slots=True)
class Run:
    """What every training command shares.

    Attributes:
        data: folder of the data sets.
        out: folder of the run.
        cache: folder of noise-free sinograms.
        width: a key of `WIDTHS`.
        initial: weights to start from (a file), or `NO_INITIAL`.
        loss: a key of `LOSSES`.
        side: side of the square patches in pixels.
        batch: patches per batch.
        device: where to train.
        budget: steps, learning rate, seed.
        command: how to repeat the run.
    """

    data: Path
    out: Path
    cache: Path
    width: str
    initial: str
    loss: str
    side: int
    batch: int
    device: str
    budget: Budget
    command: str


def pretrain(run: Run) -> DRUNet:
    """Stage 1: Gaussian noise removal on 400 photographs."""
    photographs = [read_grayscale(file) for file in training_files(run.data)]
    draw = GaussianNoisePairs(photographs, side=run.side, batch=run.batch)
    watched = [read_grayscale(file)[:256, :256] for file in held_out_files(run.data, "set12")]
    return _train(run, draw, measure_denoising(watched), {"photographs": len(photographs)})


def fine_tune(run: Run, *, patients: int | None, phantoms: int, realisations: int) -> DRUNet:
    """Stage 2 on chest CT: (reconstruction of a simulated low-dose scan, truth) pairs.

    Args:
        run: what every command shares.
        patients: use only the slices of so many training patients.
        phantoms: synthetic chest phantoms added to the slices.
        realisations: noise realisations per slice.
    """
    pairs = chest_pairs(run.data, run.cache, "train", realisations=realisations, patients=patients)
    slices = len(pairs)
    trained_on = len({each.patient for each in chest_slices(run.data, "train", patients=patients)})
    pairs += phantom_pairs(run.cache, phantoms, realisations=realisations)
    validation = chest_pairs(run.data, run.cache, "val", realisations=1)
    described = {"slices": slices, "patients": trained_on, "phantoms": phantoms, "realisations": realisations}
    return _fine_tune(run, pairs, validation, described)


def widen(run: Run, *, phantoms: int, tuned: int, others: int, share: float) -> DRUNet:
    """Stage 3 on chest CT: other doses and kernels, and slices that are to stay as they are.

    Args:
        run: what every command shares.
        phantoms: synthetic chest phantoms added to the slices.
        tuned: realisations of the dose and kernel of stage 2 per slice.
        others: realisations of other doses and kernels per slice.
        share: of the trained weights in the result; the rest is the weights it started from.
    """
    slices = training_reconstructions(run.data, run.cache, phantoms=phantoms, tuned=tuned, others=others)
    described = {
        "slices": len(slices) - phantoms,
        "patients": len({each.patient for each in chest_slices(run.data, "train")}),
        "phantoms": phantoms,
        "realisations": tuned + others,
        "noise_level": TYPICAL_LEVEL,
        "least_level": LEAST_LEVEL,
        "largest_level": LARGEST_LEVEL,
        "share": share,
    }
    budget = replace(run.budget, warm_up=50, averaging=0.99)
    draw = DoseRangePairs(slices, side=run.side, batch=run.batch)
    validation = chest_pairs(run.data, run.cache, "val", realisations=1)
    trained = _train(replace(run, budget=budget), draw, measure_pairs(validation, TYPICAL_LEVEL), described)
    mixed = interpolate(load_network(Path(run.initial), run.width), trained.cpu(), share)
    save_half(mixed, load_record(run.out / "checkpoint.pt"), run.out / INTERPOLATED)
    return mixed


def ellipses(run: Run, *, phantoms: int, realisations: int) -> DRUNet:
    """Stage 2 on DIVal's ellipses: sparse-view reconstructions of the first so many training phantoms."""
    pairs = ellipses_pairs("train", phantoms, realisations=realisations)
    validation = ellipses_pairs("validation", 20, realisations=1)
    return _fine_tune(run, pairs, validation, {"phantoms": phantoms, "realisations": realisations})


def _fine_tune(run: Run, pairs: list[Pair], validation: list[Pair], described: Mapping[str, float]) -> DRUNet:
    level = mean_error_level(pairs)
    draw = ReconstructionPairs(pairs, level, side=run.side, batch=run.batch)
    return _train(run, draw, measure_pairs(validation, level), {"noise_level": level, **described})


def _train(run: Run, draw: Draw, measure: Measure, described: Mapping[str, float]) -> DRUNet:
    torch.manual_seed(run.budget.seed)
    started_fresh = run.initial == NO_INITIAL
    network = DRUNet(WIDTHS[run.width]) if started_fresh else load_network(Path(run.initial), run.width)
    training = Training(
        network.train(), draw, LOSSES[run.loss], run.budget, run.out, measure=measure, device=run.device
    )
    trained = training.run()
    record = {
        "width": run.width,
        "initial": NO_INITIAL if started_fresh else "/".join(Path(run.initial).with_suffix("").parts[-2:]),
        "loss": run.loss,
        "side": run.side,
        "batch": run.batch,
        "device": run.device,
        "command": run.command,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU threads, shared with other work",
        "hours": training.seconds / 3600,
        "budget": asdict(run.budget),
        **described,
    }
    (run.out / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return trained
