"""Experiments with small real detectors: their lines, runs that were cut off, and the page of what there is."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.security.camouflage.evaluation.__main__ import main
from services.security.camouflage.evaluation.backgrounds import split_backgrounds
from services.security.camouflage.evaluation.covertness import measure_lpips
from services.security.camouflage.evaluation.experiments import (
    HARDENED,
    NOBODY,
    OUTSIDER,
    TWO_STAGE,
    VICTIM,
    Experiment,
    Scale,
)
from services.security.camouflage.evaluation.figures import paired_difference, summarise
from services.security.camouflage.evaluation.hardening_sets import write_hardening_sets
from services.security.camouflage.evaluation.mitsuba_reference import INTERPRETER, find_interpreter
from services.security.camouflage.evaluation.models import ModelShelf
from services.security.camouflage.evaluation.reference_pictures import look_by_both_renderers
from services.security.camouflage.evaluation.report import write_report
from services.security.camouflage.evaluation.run_files import RunFiles
from services.security.camouflage.evaluation.running import (
    EARLIER,
    MADE_AGAINST,
    NOT_MADE,
    RESULT,
    START,
    NotPossible,
    Runner,
)
from services.security.camouflage.evaluation.shots import FACTORS
from services.security.camouflage.measurement.conditions import Streets
from services.security.camouflage.measurement.measuring import random_texture
from services.security.camouflage.meshes.cars import make_car
from services.security.camouflage.optimisation.run import CamouflageRun, StepReport
from services.security.camouflage.textures.paints import plain_texture
from shared.settings import Settings
from tests.unit.services.security.camouflage.evaluation.redness_detectors import SIDE, release
from tests.unit.services.training.random_lpips import random_lpips

SCALE = Scale(steps=3, batch=1, side=SIDE, scenes=4, azimuths=4, factor_shots=2, backgrounds="carla")
ATTACK = Experiment("attack", victim=HARDENED, cover="sticker-20")
HARDENING = {
    "steps": 40,
    "sets": [{"file": "pixels.zip", "sha256": "0" * 64, "pictures": 96}],
    "clean": {
        "dataset": "frames of a town",
        "before": {"AP": 0.56, "AP50": 0.875, "AP75": 0.6},
        "after": {"AP": 0.55, "AP50": 0.865, "AP75": 0.6},
    },
}
TWO_STAGE_ATTACK = replace(ATTACK, victim=TWO_STAGE)
BEFORE = Experiment("attack", cover="sticker-20")
"""The same on the detector that was not fine-tuned."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames as CARLA's: per split one with a vehicle and three without, told apart by their grey."""
    folder = tmp_path_factory.mktemp("data")
    images = folder / "carla" / "images"
    images.mkdir(parents=True)
    for level, split in ((40, "train"), (80, "val"), (120, "test")):
        entries = [{"id": number, "file_name": f"{split}-{number}.png"} for number in range(4)]
        for entry in entries:
            grey = level + int(str(entry["id"]))
            Image.new("RGB", (160, 100), (grey, grey, grey)).save(images / str(entry["file_name"]))
        document = {
            "images": entries,
            "annotations": [{"image_id": 0, "category_id": 1}, {"image_id": 1, "category_id": 2}],
            "categories": [{"id": 1, "name": "vehicle"}, {"id": 2, "name": "traffic_light"}],
        }
        (folder / "carla" / f"{split}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    release(folder / "perception", VICTIM)
    release(folder / "perception", OUTSIDER, sureness=1.0)
    release(folder / "perception", TWO_STAGE, sureness=2.0)
    release(folder, HARDENED, sureness=3.0)
    hardened = folder / HARDENED / "1.0.0"
    (hardened / "model.onnx").rename(hardened / "detector.onnx")  # as fine-tuning calls it
    (hardened / "hardening.json").write_text(json.dumps(HARDENING))
    return folder


@pytest.fixture(scope="module")
def runner(models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    shelf = ModelShelf(Settings(models=models), models / HARDENED / "1.0.0")
    files = RunFiles(tmp_path_factory.mktemp("runs"))
    return Runner(SCALE, shelf, split_backgrounds(data), files, 1, resamples=20, make_lpips=random_lpips)


@pytest.fixture(scope="module")
def lines(runner: Runner) -> dict[str, dict[str, Any]]:
    runner.files.write_texture(BEFORE.key(SCALE), random_texture(SCALE.texture_side, 9))
    planned = [Experiment("detectors"), Experiment("unoptimised", cover="sticker-20"), ATTACK, TWO_STAGE_ATTACK]
    planned += [
        Experiment("detectors", victim=TWO_STAGE),
        Experiment("unoptimised", victim=TWO_STAGE, cover="sticker-20"),
    ]
    planned += [Experiment("lpips", victim=NOBODY, cover="sticker-20"), replace(ATTACK, part="lpips")]
    return {one.name: json.loads(json.dumps(runner.run(one))) for one in planned}


def test_steps_see_other_frames_than_measures_and_none_with_vehicles(data: Path) -> None:
    split = split_backgrounds(data)
    assert [int(one[0, 0, 0]) for one in split.held_out.pictures] == [121, 122, 123]
    assert {int(one[0, 0, 0]) for one in split.learned.pictures} == {41, 42, 43, 81, 82, 83}  # type: ignore[attr-defined]
    without = split_backgrounds(data / "nowhere")
    assert (without.kind, without.learned, len(without.held_out.pictures)) == ("streets", Streets(), 0)


def test_an_attack_is_measured_beside_where_it_started_and_what_was_made_before(
    lines: dict[str, dict[str, Any]], runner: Runner
) -> None:
    line = lines[ATTACK.name]
    assert line["pictures"] + line["left_out"] == 4 * 3 * 2
    assert set(line["detectors"]) == {VICTIM, OUTSIDER, HARDENED}
    found = line["detectors"][HARDENED]
    assert list(found) == [START, RESULT, EARLIER, *NOT_MADE]
    assert len({json.dumps(one["scores"]) for one in found.values()}) == 5
    assert line["hardening"] == HARDENING
    assert len(found[RESULT]["scores"]) == line["pictures"] == sum(one[1] for one in found[RESULT]["bins"]["light"])
    assert set(line["factors"]) == set(FACTORS)
    assert line["steps_done"] == 3
    assert line["trace"]["cpu_s"] > 0
    texture = runner.files.read_texture(ATTACK.key(SCALE))
    assert texture is not None
    assert texture.shape == (128, 128, 3)


def test_the_two_stage_detector_is_asked_where_it_is_the_victim(lines: dict[str, dict[str, Any]]) -> None:
    line = lines[TWO_STAGE_ATTACK.name]
    assert set(line["detectors"]) == {VICTIM, OUTSIDER, TWO_STAGE}
    assert list(line["detectors"][VICTIM]) == [START, RESULT]
    found = line["detectors"][TWO_STAGE]
    assert list(found) == [START, RESULT, MADE_AGAINST + VICTIM], "of the outsider there is no texture"
    assert len({json.dumps(one["scores"]) for one in found.values()}) == 3
    for name in (f"detectors/{TWO_STAGE}/sedan", f"unoptimised/{TWO_STAGE}/sticker-20"):
        assert list(lines[name]["detectors"]) == [TWO_STAGE]


def test_what_is_missing_is_said(runner: Runner, models: Path) -> None:
    with pytest.raises(NotPossible, match="texture-diffusion"):
        runner.run(Experiment("attack", pattern="ddpm"))
    with pytest.raises(LookupError, match="nothing-here"):
        ModelShelf(Settings(models=models)).find("nothing-here")


def test_a_car_is_as_far_from_its_background_as_it_looks(lines: dict[str, dict[str, Any]], runner: Runner) -> None:
    cars = runner.car_set("sedan")
    shots = cars.grid.taken[:3]
    texture = random_texture(SCALE.texture_side, 1)
    hidden = [replace(shot, behind=shot.with_texture(texture, cars.mask)) for shot in shots]
    assert measure_lpips(hidden, texture, cars.mask, random_lpips()) == [0, 0, 0]
    assert min(measure_lpips(shots, texture, cars.mask, random_lpips())) > 0.01
    unoptimised = lines[f"lpips/{NOBODY}/pixels/sticker-20/none"]["lpips"]
    assert {"red", "grey", "random 1"} <= set(unoptimised)
    made = lines["lpips/hardened/pixels/sticker-20/none"]["lpips"]
    assert len(made[RESULT]) == len(unoptimised["red"]) == len(cars.grid.taken)


def test_lpips_is_left_out_where_its_weights_cannot_be_downloaded(runner: Runner) -> None:
    def fail() -> Any:
        raise CalledProcessError(1, "pip")

    with pytest.raises(NotPossible, match="cannot be downloaded"):
        replace(runner, make_lpips=fail).run(Experiment("lpips", victim=NOBODY))


def test_a_profile_adds_up(runner: Runner) -> None:
    profile = runner.run(Experiment("profile"))["profile"]
    parts = profile["parts_s"]
    assert sum(parts.values()) == pytest.approx(profile["step_s"], abs=1e-3)
    assert min(parts.values()) > 0
    assert profile["peak_mib"] > 50


@pytest.mark.skipif(find_interpreter() is None, reason=f"{INTERPRETER} names no Python with Mitsuba")
def test_both_renderers_are_looked_at(runner: Runner) -> None:
    plain = plain_texture((176, 48, 40), SCALE.texture_side)
    found = look_by_both_renderers(runner.car_set("sedan"), {"red": plain}, runner.detectors(), views=1)
    assert set(found["renderers"]) == {"own", "mitsuba"}
    assert found["pictures"] == 1
    assert 0 < found["difference"] < 0.05


def test_hardening_sets_are_written_of_textures_that_there_are(
    runner: Runner, lines: dict[str, dict[str, Any]]
) -> None:
    assert ATTACK.name in lines  # of the other detector there is a texture, too
    (name,) = write_hardening_sets(runner, pictures=4)
    (path,) = [one for one in Path(runner.files.folder).iterdir() if one.name == name]
    with zipfile.ZipFile(path) as archive:
        document = json.loads(archive.read("annotations.json"))
    assert 0 < len(document["images"]) <= 4


class CutOff(CamouflageRun):
    """A run whose process ends in a step."""

    def step(self) -> StepReport:
        if self.step_number == 22:
            raise KeyboardInterrupt
        return super().step()


def test_a_run_that_was_cut_off_goes_on_to_the_same_texture(tmp_path: Path, models: Path) -> None:
    scale = Scale(steps=24, batch=1, side=SIDE, scenes=4)
    victim = ModelShelf(Settings(models=models)).find(VICTIM).victim(SIDE)
    mesh, plan = make_car("sedan"), ATTACK.plan(scale)

    def begin(kind: type[CamouflageRun] = CamouflageRun) -> CamouflageRun:
        return kind(plan, mesh, victim, Streets())

    whole, files = begin(), RunFiles(tmp_path)
    unbroken = files.finish("whole", whole)
    with pytest.raises(KeyboardInterrupt):
        files.finish("broken", begin(CutOff))
    resumed = begin()
    trace = files.finish("broken", resumed)
    assert np.array_equal(resumed.texture(), whole.texture())
    assert [one["step"] for one in trace.points] == [10, 20, 24]
    assert trace.points == unbroken.points
    assert not list(tmp_path.glob("*.pt"))


def test_differences_are_of_pairs() -> None:
    first = {"scores": [0.9, 0.1, 0.1, 0.1], "views": [0, 1, 2, 3]}
    second = {"scores": [0.9, 0.9, 0.9, 0.9], "views": [0, 1, 2, 3]}
    difference = paired_difference(first, second, 0.5)
    assert difference["value"] == -0.75
    assert -1 <= difference["low"] < -0.75 < difference["high"] <= 0
    assert paired_difference(second, second, 0.5) == {"value": 0, "low": 0, "high": 0}


def test_the_page_says_what_was_measured_and_what_was_not(lines: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    figures = summarise(lines.values(), has_prior=False)
    (found,) = figures.values()
    assert json.loads(json.dumps(figures)) == figures
    arms = {(arm["texture"], arm["victim"]): arm["covertness"]["lpips"] for arm in found["arms"]}
    assert arms["red", None] > 0 < arms[RESULT, HARDENED]
    assert arms[START, HARDENED] is None
    less = {one["less"] for one in found["differences"]}
    assert {"red", "grey", "random 1"} <= less
    assert "attack/vehicle-detector/ddpm/full/none" in {one["name"] for one in found["missing"]}
    page = tmp_path / "report.md"
    write_report(figures, page)
    text = page.read_text()
    for words in (
        "Simulation only",
        "**`pixels` against hardened**",
        "plain red",
        "random, 4 textures",
        EARLIER,
        "with 40 steps on 96 pictures of 1 sets",
        "On frames of a town, without any texture, its AP50 went from 0.875 to 0.865",
    ):
        assert words in text
    defence = text.partition("### Defence")[2].partition("###")[0]
    assert [row.split(" |")[0] for row in defence.splitlines() if row.startswith("| ")][2:] == [
        "| **`pixels` against hardened**",
        "| `pixels` against vehicle-detector",
        "| plain red",
        "| random 1",
    ]
    assert "Not measured. Detectors are trained" not in text
    (arm,) = [arm for arm in found["arms"] if arm["texture"] == MADE_AGAINST + VICTIM]
    assert (arm["victim"], list(arm["detectors"])) == (TWO_STAGE, [TWO_STAGE])
    (before,) = found["detectors"].values()
    assert set(before["detectors"]) == {VICTIM, OUTSIDER, TWO_STAGE}
    compared = {one["less"] for one in found["differences"] if one["detector"] == one["victim"] == TWO_STAGE}
    assert {"red", "grey", "random 1", START} <= compared
    seen = text.partition(f"Seen by **{TWO_STAGE}**")[2].partition("Seen by")[0]
    for row in ("| plain red |", f"**`pixels` against {TWO_STAGE}**", f"| `pixels` made against {VICTIM} |"):
        assert row in seen
    assert "texture-diffusion is not released" in text


def test_without_time_nothing_begins(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    main(["run", "--minutes", "0", "--out", str(out), "--data", str(tmp_path), "--folder", str(tmp_path / "runs")])
    assert out.read_text() == ""
