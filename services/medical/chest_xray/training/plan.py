"""All runs: the released one, the published network at full width, and the ablations of the released one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from services.medical.chest_xray.training.networks.options import NetworkOptions
from services.medical.chest_xray.training.stages.recipes import Recipe, schedule
from services.medical.chest_xray.training.stages.training import StageOptions

SMALL: Final = NetworkOptions(first="lite0", filters=16, stride=2, trained_stages=2, dropout=0.25, opacity=True)
"""EfficientNet-Lite0 beside a second encoder of an eighth of the published width that sees films of 160 x 128: at that
size two slow cores train it in about an hour. The attention's blur is of 6 pixels of 320, so nothing is lost by it."""

RELEASED: Final = Recipe(
    network=SMALL,
    pretraining=StageOptions(epochs=12, steps=75, batch=16, schedule=schedule(2e-4, patience=1, stop_after=4)),
    contrastive=StageOptions(epochs=5, steps=16, batch=30, schedule=schedule(1e-4, patience=1, stop_after=3)),
    classifier=StageOptions(epochs=6, steps=30, batch=18, schedule=schedule(1e-4, patience=1, stop_after=3)),
    attention=StageOptions(epochs=16, steps=60, batch=16, schedule=schedule(1e-3, patience=1, stop_after=5)),
    fusion=StageOptions(epochs=40, steps=40, batch=48, schedule=schedule(1e-3, patience=3, stop_after=9)),
    bfloat16=True,
)
_JOINT: Final = StageOptions(epochs=24, steps=60, batch=16, schedule=schedule(5e-4, patience=2, stop_after=6))

RUNS: Final[Mapping[str, Recipe]] = {
    "released": RELEASED,
    "no-contrastive": replace(RELEASED, contrastive=None),
    "joint": replace(RELEASED, contrastive=None, classifier=None, attention=None, fusion=None, joint=_JOINT),
    "first-alone": replace(RELEASED, network=replace(SMALL, second=False), attention=None, fusion=None),
    "second-alone": replace(RELEASED, network=replace(SMALL, first="none")),
    "published": Recipe(network=NetworkOptions(opacity=True)),
}
"""By the folder of each. That the fusion classifier is better than the first encoder's own is measured within one run,
since a network gives the logits of both."""
RELEASE: Final = "released"
