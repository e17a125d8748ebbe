"""Sets to fine-tune a detector with, of the textures that were made so far: what the defence is made from.

Training of detectors is another service's: `python -m services.perception.detection.training harden` takes the sets and
leaves the `card.json` and `detector.onnx` of a fine-tuned detector in the folder that `--hardened` names. Then that one
is attacked.
"""

from __future__ import annotations

from typing import Final

from services.security.camouflage.evaluation.experiments import VICTIM, Experiment, cover_of, experiments
from services.security.camouflage.evaluation.running import NotPossible, Runner
from services.security.camouflage.measurement.conditions import Pictures
from services.security.camouflage.measurement.grids import HeldOutBackgrounds
from services.security.camouflage.measurement.measuring import Stage
from services.security.camouflage.reporting.hardening import make_hardening_set
from services.security.camouflage.textures.covers import make_cover

PICTURES: Final = 96
"""Of a texture's set, half of them with random textures."""


def write_hardening_sets(runner: Runner, *, pictures: int = PICTURES) -> list[str]:
    """Write the set of each texture that hides the car from the victim; returns their files' names.

    Backgrounds are those of steps; cameras, lights and paints are drawn as for steps. So the grid that is measured
    stays unseen.

    Args:
        runner: with the textures.
        pictures: of each set.

    Raises:
        NotPossible: backgrounds are drawn streets.
    """
    attacks = [one for one in experiments() if one.part == "attack" and one.victim == VICTIM]
    return [name for one in attacks if (name := _write(runner, one, pictures)) is not None]


def _write(runner: Runner, experiment: Experiment, pictures: int) -> str | None:
    key = experiment.key(runner.scale)
    texture = runner.files.read_texture(key)
    if texture is None:
        return None
    cars, learned = runner.car_set(experiment.car), runner.split.learned
    if not isinstance(learned, Pictures):
        raise NotPossible("hardening sets need backgrounds that are not measured with: the frames of CARLA")
    backgrounds = HeldOutBackgrounds(tuple(learned.pictures), learned.horizon)
    stage = Stage(cars.mesh, cars.mask, backgrounds, runner.scale.side)
    cover = make_cover(cars.mesh, cars.maps, cover_of(experiment.cover))
    archive = make_hardening_set(stage, experiment.plan(runner.scale), texture, cover.mask, pictures=pictures)
    return runner.files.write(key, "zip", archive)
