"""What the cards of the two released models say, apart from what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.medical.low_dose_ct.denoising.tiling import largest_side
from services.medical.low_dose_ct.training.export import image_tensors
from services.medical.low_dose_ct.training.network import DOWNSAMPLING, WIDTHS
from shared.runtime.cards import (
    Baseline,
    Latency,
    ModelCard,
    Paper,
    Parity,
    Quality,
    RuntimeOptions,
    TrainingRecord,
    Weights,
)

GAUSSIAN, LOW_DOSE_CT = "gaussian-denoiser", "low-dose-ct"
VERSIONS = {GAUSSIAN: "1.0.0", LOW_DOSE_CT: "1.1.0"}
LICENCE = "Apache-2.0 (these weights; the training data has terms of its own, see limits)"
COMMAND = "python -m services.medical.low_dose_ct.training"

PAPER = Paper(
    title="Enhanced Low-Dose CT Image Reconstruction by Domain and Task Shifting Gaussian Denoisers",
    authors="T. Selig, T. März, M. Storath, A. Weinmann",
    url="https://arxiv.org/abs/2403.03551",
)

PHOTOGRAPHS = "BSDS500 train and test parts, 400 photographs (its val part, which contains BSD68, is left out)"
SLICES = "TCGA-LUAD/LUSC chest CT: {slices} slices of {patients} patients, low dose simulated"
PHANTOMS = "{phantoms} synthetic chest phantoms, low dose simulated"

SHARED_LIMITS = [
    "Research use only, not a medical device.",
    "Trained on two CPU cores at 1/30 of the published network's size; the published DRUNet is better.",
    "BSDS500: research use, terms not verified; the authors ask for citation (Arbelaez et al. 2011).",
]
CT_LIMITS = [
    "Low dose is simulated as in LoDoPaB-CT: parallel beam, 4,096 photons per bin; real low-dose scans look different.",
    "The simulation knows no scatter, no electronic noise and no beam hardening.",
    "Few patients, all with lung tumours, two manufacturers; other body parts were never seen.",
    "The truth slices carry noise themselves (sharp kernels), so the network learns to keep some of it.",
    "Simulated scans use a field of view of 26 cm whatever the true pixel spacing, as LoDoPaB-CT does.",
    "Images with up to 28 HU of noise (estimated) stay as they are; from 40 HU on all of the answer is the network's.",
    "That holds back on scans of some noise: at 16,384 photons all of version 1.0.0's answer was 1.4 dB better.",
    "Smooth kernels lose most (Hann 0.641: 2.3 dB below the tuned kernel): what they cut off does not come back.",
    "At 4,096 photons and the tuned kernel it is 0.04 dB below version 1.0.0, the price of other doses and kernels.",
    "Fine structures fainter than the noise can be removed or invented; never judge a finding by this image alone.",
    "One run of each kind (seed 0): the intervals show the spread between patients, not between runs.",
    "TCGA slices: TCIA, believed CC BY 3.0, not verified.",
]

BLEND_HU = (28.0, 40.0)
"""Noise up to which an image stays as it is, and from which on it gets the network's whole answer. Of 66 normal-dose
slices of training and validation patients 62 lie below the first; of their simulated scans with 4,096 photons and eight
kernels 97 % lie above the second, and all above the first."""

ARCHITECTURE = "DRUNet (grayscale) with 16, 32, 64, 128 channels and 2 residual blocks per scale, 1,063,344 parameters"
GAUSSIAN_CHOICES = [
    ARCHITECTURE + " instead of the published 64-512 and 4 (32,638,656).",
    "64 x 64 crops and batches of 16 instead of 128 x 128 and 64; cosine learning rate from 1e-3; averaged weights.",
]
CT_CHOICES = [
    ARCHITECTURE + "; the publication uses full DRUNet, KBNet and Restormer.",
    "FBP that the network sees: Hann window with cut-off 1 and spatial ramp (the paper's filter is not known to us).",
    "The noise map holds the noise that is estimated from the image, as for every image that is served.",
    "Padding to multiples of 8 repeats the edge and lies inside the graph.",
]


def gaussian_card(record: dict[str, Any], weights: Weights, parity: Parity, latency: Latency) -> ModelCard:
    """The card of stage 1, without quality."""
    level = "Standard deviation of the noise, in units of the image; trained on 0 to 50/255"
    return ModelCard(
        name=GAUSSIAN,
        version=VERSIONS[GAUSSIAN],
        task="Removal of white Gaussian noise of known level from grayscale images",
        paper=PAPER,
        licence=LICENCE,
        **image_tensors("grey value, 1 = white", "Noisy image", level=level),
        weights=weights,
        training=_training(record, [PHOTOGRAPHS], "Stage 1: L1 loss, noise level uniform in [0, 50]/255 per patch"),
        quality=[],
        parity=parity,
        latency=latency,
        limits=SHARED_LIMITS,
        choices=GAUSSIAN_CHOICES,
        parameters={"width": record["width"], **_reach(record)},
        runtime=_runtime(record),
    )


def low_dose_card(record: dict[str, Any], weights: Weights, parity: Parity, latency: Latency) -> ModelCard:
    """The card of the fine-tuned network, without quality."""
    data = [PHOTOGRAPHS, SLICES.format(**record)]
    if record["phantoms"]:
        data.append(PHANTOMS.format(**record))
    level = f"Standard deviation of the noise in soft tissue; this scan dose typically has {record['noise_level']:.5f}"
    loss = {"squared": "squared error", "structural": "(1 - SSIM) + 5 L1", "absolute": "L1"}[record["loss"]]
    procedure = (
        f"Stage 2: fine-tuning of {GAUSSIAN} {VERSIONS[GAUSSIAN]} on (FBP of simulated low dose, normal dose), 2000 "
        f"steps (version 1.0.0); stage 3: on scans of 450 to 25,000 photons, seven kernels and slices that are to stay "
        f"as they are, {loss} over noise, weights {record['share']:.0%} of the way from stage 2"
    )
    return ModelCard(
        name=LOW_DOSE_CT,
        version=VERSIONS[LOW_DOSE_CT],
        task="Enhancement of filtered back-projections of low-dose chest CT",
        paper=PAPER,
        licence=LICENCE,
        **image_tensors("normalised attenuation, 1 = 3071 HU", "FBP of a low-dose scan", level=level),
        weights=weights,
        training=_training(record, data, procedure),
        quality=[],
        parity=parity,
        latency=latency,
        limits=SHARED_LIMITS + CT_LIMITS,
        choices=[
            *CT_CHOICES,
            f"Loss: {loss}; the paper's is SSIM-based, its exact form is not known to us and was not compared.",
        ],
        parameters={
            "width": record["width"],
            "noise_level": record["noise_level"],
            "noise_range": [record["least_level"], record["largest_level"]],
            "blend_hu": list(BLEND_HU),
            **_reach(record),
        },
        runtime=_runtime(record),
    )


def range_quality(measured: Mapping[str, Any], *, before: str, now: str) -> list[Quality]:
    """What was measured of other doses, kernels and normal-dose slices, each beside the network of stage 2 alone.

    Args:
        measured: result of `evaluate_range`.
        before: name of that network in it.
        now: name of what the service answers.
    """
    patients = f"{measured['slices']} slices of {measured['patients']} held-out patients"
    change = measured["normal_dose"]

    def beside(metric: str, data: str, unit: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Quality:
        value, low, high, other = (round(x, 4) for x in (ours["mean"], ours["low"], ours["high"], theirs["mean"]))
        baseline = Baseline(name=before, value=other)
        return Quality(metric=metric, dataset=data, value=value, unit=unit, interval=(low, high), baseline=baseline)

    normal = [
        beside(f"change of {words}", f"normal dose, {patients}", "HU", change[now][key], change[before][key])
        for key, words in (("rms_soft_tissue_hu", "soft tissue, root mean square"), ("rms_hu", "all pixels, likewise"))
    ]
    scans = [
        beside(
            "PSNR (range of each image)",
            f"{scan['photons']} photons, {scan['kernel']}, {patients}",
            "dB",
            scan["psnr"][now],
            scan["psnr"][before],
        )
        for scan in measured["scans"]
    ]
    return normal + scans


def _reach(record: Mapping[str, Any]) -> dict[str, Any]:
    """What large images are divided by."""
    return {"receptive_field": WIDTHS[record["width"]].receptive_field, "grid": DOWNSAMPLING}


def _runtime(record: Mapping[str, Any]) -> RuntimeOptions:
    """No batch takes more memory than one part of a large image does."""
    side = largest_side(WIDTHS[record["width"]].receptive_field, DOWNSAMPLING)
    return RuntimeOptions(batch_elements=float(side**2 + 1))


def _training(record: dict[str, Any], data: list[str], procedure: str) -> TrainingRecord:
    budget = record["budget"]
    details = (
        f"{procedure}; {budget['steps']} steps of {record['batch']} patches of {record['side']} x {record['side']}, "
        f"Adam, learning rate {budget['learning_rate']:g} falling along a cosine"
    )
    return TrainingRecord(
        data=data,
        procedure="; ".join(filter(None, [details, record.get("remark")])),
        seed=budget["seed"],
        machine=record["machine"],
        hours=round(record["hours"], 2),
        command=record["command"],
    )


def gaussian_quality(photographs: dict[str, Any], published: dict[int, float]) -> list[Quality]:
    """PSNR on BSD68 beside a published denoiser of its kind (one network for all levels)."""
    return [
        Quality(
            metric=f"PSNR (range 1), sigma {level}",
            dataset=f"BSD68, {photographs['images']} photographs",
            value=round(row["psnr_db"], 3),
            unit="dB",
            interval=(round(row["interval"][0], 3), round(row["interval"][1], 3)),
            baseline=Baseline(name="DnCNN-B, published", value=published[int(level)]),
        )
        for level, row in photographs["levels"].items()
    ]


METRICS = {
    "psnr": ("PSNR (range of each image)", "dB"),
    "ssim": ("SSIM (range of each image)", ""),
    "psnr_full_range": ("PSNR (range 1)", "dB"),
    "ssim_full_range": ("SSIM (range 1)", ""),
    "bias_hu air": ("mean bias in air", "HU"),
    "bias_hu lung": ("mean bias in lung", "HU"),
    "bias_hu soft tissue": ("mean bias in soft tissue", "HU"),
}


def low_dose_quality(chest: dict[str, Any], ours: str, plain: str) -> list[Quality]:
    """What was measured on held-out patients: every metric beside a plain reconstruction, PSNR beside all others too.

    Args:
        chest: result of `evaluate_chest`.
        ours: name of the released network in it.
        plain: name of the plain reconstruction in it.
    """
    dataset = (
        f"TCGA chest CT with simulated low dose, {chest['slices']} slices of {chest['patients']} held-out patients"
    )
    mine = chest["methods"][ours]

    def beside(metric: str, baseline: str) -> Quality:
        name, unit = METRICS[metric]
        measured = {key: round(value, 4) for key, value in mine[metric].items()}
        other = Baseline(name=baseline, value=round(chest["methods"][baseline][metric]["mean"], 4))
        interval = (measured["low"], measured["high"])
        return Quality(
            metric=name, dataset=dataset, value=measured["mean"], unit=unit, interval=interval, baseline=other
        )

    others = [name for name in chest["methods"] if name not in (ours, plain)]
    return [beside(metric, plain) for metric in METRICS] + [beside("psnr", other) for other in others]
