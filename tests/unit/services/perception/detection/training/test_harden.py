"""A released detector is fine-tuned on archives: where it begins, what it is shown, what is left behind."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from services.perception.detection.detectors import VEHICLES
from services.perception.detection.optimisation.construction import DetectorOptions
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.released_weights import read_released
from services.perception.detection.training import __main__ as command
from services.perception.detection.training.cards import Origin, make_card
from services.perception.detection.training.data import read_detection_set
from services.perception.detection.training.harden import LEARNING_RATE, Hardening, make_recipe, open_release
from services.perception.detection.training.hardening_sets import join_sets, read_hardening_set
from services.perception.detection.training.plan import PlannedRun
from services.perception.detection.training.release import ReleaseRefused
from services.perception.detection.training.train import DetectionRecipe
from services.training.half_precision import halve_weights
from shared.detectors.letterboxing import Buckets
from shared.detectors.models import read_detector
from shared.problems import UnprocessableContent
from shared.runtime.cards import UploadedCard
from shared.runtime.models.releases import weights_of, write_release
from shared.runtime.models.sessions import OnnxModel
from tests.support.archives import zipped
from tests.support.detectors import CLASSES, SOURCE, TINY, rectangle_image, sharpen, tiny_detector

RECIPE = DetectionRecipe(DetectorOptions(CLASSES, "single-stage", TINY), batch=2)
PLANNED = PlannedRun(RECIPE, VEHICLES, SOURCE)
STEPS = 2
PIXELS = 100_000


def archive(classes: tuple[str, ...] = ("yellow", "Red"), pictures: int = 3) -> bytes:
    """Small pictures with an object each, whose classes are others' in another order."""
    files: dict[str, bytes | str] = {}
    document: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    document["categories"] = [{"id": 7 + number, "name": name} for number, name in enumerate(classes)]
    for number in range(1, pictures + 1):
        label = number % len(classes)
        box = (4 * number, 6, 4 * number + 10, 20)
        image, _ = rectangle_image([(CLASSES.index(classes[label].lower()), box)], 32, 40)
        encoded = io.BytesIO()
        Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(encoded, "PNG")
        files[f"images/{number}.png"] = encoded.getvalue()
        document["images"].append({"id": number, "file_name": f"images/{number}.png", "width": 40, "height": 32})
        document["annotations"].append(
            {"id": number, "image_id": number, "category_id": 7 + label, "bbox": [box[0], 6, 10, 14], "area": 140}
        )
    return zipped(files | {"annotations.json": json.dumps(document)})


@pytest.fixture(scope="module")
def models(rectangles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a service's models with a tiny detector instead of the released one."""
    detector = tiny_detector("single-stage")
    sharpen(detector)
    folder, content = tmp_path_factory.mktemp("models"), halve_weights(export_detector(detector))
    origin = Origin(
        RECIPE, read_detection_set(rectangles, SOURCE, "train"), "rectangles", 0.1, "a machine", "a command"
    )
    write_release(
        folder / VEHICLES / "1.2.0", content, make_card(weights_of(content), origin, name=VEHICLES, version="1.2.0")
    )
    return folder


@pytest.fixture(scope="module")
def hardened(models: Path, rectangles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves, beside the two archives that it was given."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    folder = tmp_path_factory.mktemp("hardened")
    (folder / "one.zip").write_bytes(archive())
    (folder / "two.zip").write_bytes(archive(("blue",), pictures=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "RUNS", {"tiny": PLANNED})
        harden(folder, rectangles, models)
    return folder


def harden(folder: Path, data: Path, models: Path, *sets: str, steps: int = STEPS) -> None:
    common = ["--data", str(data), "--threads", "1", "harden", "--folder", str(folder), "--models", str(models)]
    files = [str(folder / name) for name in sets or ("one.zip", "two.zip")]
    command.main([*common, "--steps", str(steps), "--machine", "a small one", *files])


def test_pictures_are_seen_as_they_are_served(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(archive())
    found = read_hardening_set(path, CLASSES, Buckets.of_sides(64, 96), pixel_limit=PIXELS)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [image.shape for image in found.data.images] == [(64, 80, 3)] * 3
    assert [one.labels.tolist() for one in found.data.targets] == [[0], [2], [0]]
    for number, (image, targets) in enumerate(zip(found.data.images, found.data.targets, strict=True), start=1):
        assert targets.boxes.tolist() == [[8 * number, 12, 8 * number + 20, 40]]
        inside = image[14:38, 8 * number + 2 : 8 * number + 18].reshape(-1, 3).astype(int)
        assert np.ptp(inside, axis=0).max() < 3
    both = join_sets([found.data, found.data])
    assert (len(both), len(both.targets), both.domains) == (6, 6, ["set.zip"] * 6)


def test_a_set_with_objects_that_the_detector_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(archive())
    with pytest.raises(UnprocessableContent, match="does not know"):
        read_hardening_set(path, ("red",), Buckets.of_sides(64, 96), pixel_limit=PIXELS)


def test_it_goes_on_from_the_weights_of_the_release(hardened: Path, models: Path) -> None:
    before = read_released((models / VEHICLES / "1.2.0" / "model.onnx").read_bytes(), RECIPE.detector).state_dict()
    after = torch.load(hardened / "checkpoint.pt", weights_only=True)["detector"]
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    assert 0 < max(moved.values()) < 1.5 * STEPS * LEARNING_RATE
    assert sum(value > 0 for value in moved.values()) > 0.9 * len(moved)


def test_the_folder_holds_a_detector_that_can_be_attacked(hardened: Path, models: Path) -> None:
    card = UploadedCard.model_validate_json((hardened / "card.json").read_bytes())
    content = (hardened / "detector.onnx").read_bytes()
    assert card.weights.model_dump() == {
        "file": "detector.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)
    }  # fmt: skip
    assert read_detector(OnnxModel(card, content, threads=1)).role.classes == list(CLASSES)
    released = open_release(models)
    assert card.parameters == released.card.parameters
    assert card.training is not None
    assert "one.zip, two.zip: 5 pictures, 5 boxes" in card.training.data[0]
    assert card.training.data[1:] == released.card.training.data
    assert card.training.procedure.startswith(f"{VEHICLES} 1.2.0 fine-tuned, half of each batch")
    assert card.parity is not None
    assert 0 < card.parity.max_abs_difference < 0.02


def test_the_figures_state_the_price_and_what_it_was_paid_for(
    hardened: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = json.loads((hardened / "hardening.json").read_text(encoding="utf-8"))
    assert [(one["file"], one["pictures"]) for one in figures["sets"]] == [("one.zip", 3), ("two.zip", 2)]
    for one in figures["sets"]:
        assert one["sha256"] == hashlib.sha256((hardened / one["file"]).read_bytes()).hexdigest()
    assert (figures["steps"], figures["seed"], figures["machine"]) == (STEPS, 0, "a small one")
    assert figures["seconds"] > 0
    assert figures["release"]["weights_sha256"] == open_release(models).card.weights.sha256
    clean, card = figures["clean"], UploadedCard.model_validate_json((hardened / "card.json").read_bytes())
    assert set(clean["before"]) == set(clean["after"]) == {"AP", "AP50", "AP75"}
    assert clean["after"]["AP50"] == card.quality[0].value
    assert card.quality[0].baseline is not None
    assert clean["before"]["AP50"] == card.quality[0].baseline.value
    assert figures["file_to_network"]["read"]["scores"] < 1e-4


def test_a_finished_run_is_measured_again_and_others_are_not_mixed_with_it(
    hardened: Path, models: Path, rectangles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RUNS", {"tiny": PLANNED})
    written = {path.name: path.read_bytes() for path in hardened.iterdir()}
    (hardened / "detector.onnx").unlink()
    harden(hardened, rectangles, models)
    assert {path.name: path.read_bytes() for path in hardened.iterdir()} == written
    with pytest.raises(ValueError, match="another recipe"):
        harden(hardened, rectangles, models, "one.zip")


def test_a_network_that_says_something_else_than_the_file_is_not_trained(
    models: Path, rectangles: Path, tmp_path: Path
) -> None:
    release = open_release(models)
    other = onnx.load_model_from_string(release.content)
    (bias,) = (one for one in other.graph.initializer if one.name.endswith("classify.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1), bias.name))
    data = read_detection_set(rectangles, SOURCE, "test")
    recipe, release = make_recipe(RECIPE, release, [], steps=STEPS), replace(release, content=other.SerializeToString())
    hardening = Hardening(release, recipe, [], data, data, "here", "a machine", "a command")
    with pytest.raises(ReleaseRefused, match="file and network of vehicle-detector differ"):
        hardening.run(tmp_path / "refused")
    assert not list(tmp_path.iterdir())
