"""Large images in parts: each pixel once, the same answer as in one run, memory that does not grow with the image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from services.medical.low_dose_ct.denoising import tiling
from services.medical.low_dose_ct.denoising.blending import DenoiserParameters
from services.medical.low_dose_ct.denoising.tiling import largest_side, tiles
from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.inference import Denoising, denoise
from services.medical.low_dose_ct.released import open_model
from shared.runtime.cards import ModelCard
from tests.support.capability import write_model
from tests.support.tiny_models import card_of

MEBIBYTE = 2**20


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), st.integers(0, 200), st.sampled_from([1, 8, 16]))
def test_every_pixel_is_answered_once_and_seen_with_what_it_depends_on(
    shape: tuple[int, int], receptive_field: int, grid: int
) -> None:
    parts = tiles(shape, receptive_field=receptive_field, grid=grid)
    assert sum(_size(part.kept) for part in parts) == shape[0] * shape[1]
    for part in parts:
        for axis, side in enumerate(shape):
            seen, kept, inner = part.seen[axis], part.kept[axis], part.inner[axis]
            assert seen.start % grid == 0
            assert seen.stop - seen.start <= largest_side(receptive_field, grid)
            assert seen.start <= max(0, kept.start - receptive_field)
            assert seen.stop >= min(side, kept.stop + receptive_field)
            assert (inner.start + seen.start, inner.stop + seen.start) == (kept.start, kept.stop)


def _size(area: tuple[slice, slice]) -> int:
    rows, columns = (part.stop - part.start for part in area)
    return int(rows * columns)


def test_slices_of_scanners_stay_whole() -> None:
    assert len(tiles((1024, 1024), receptive_field=100, grid=8)) == 1
    assert len(tiles((4096, 4096), receptive_field=100, grid=8)) == 36


def test_image_stays_whole_where_nobody_knows_what_an_answer_depends_on() -> None:
    assert len(tiles((4096, 4096), receptive_field=None)) == 1


@pytest.mark.parametrize(
    ("name", "shape", "parts"),
    [("low-dose-ct", (371, 83), 3), ("low-dose-ct", (339, 345), 9), ("gaussian-denoiser", (61, 477), 4)],
)
def test_parts_give_the_answer_of_the_whole(
    name: str, shape: tuple[int, int], parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    hu = np.where((rows - 150) ** 2 + (columns - 140) ** 2 < 110**2, 40.0, -900.0)
    noisy = hu_to_attenuation(hu + np.random.default_rng(1).normal(0, 200, shape), clip=False)
    model = open_model(name, threads=1)
    whole = denoise(noisy, model).after
    monkeypatch.setattr(tiling, "CORE_SIDE", 128)
    assert len(Denoising.plan(noisy, model.card).parts) == parts
    difference = np.abs(attenuation_to_hu(denoise(noisy, model).after) - attenuation_to_hu(whole))
    assert difference.max() < 0.01, "HU; single precision rounds differently in runs of other sizes"


def test_batch_of_a_released_model_holds_no_more_than_one_part() -> None:
    for name in ("low-dose-ct", "gaussian-denoiser"):
        card = open_model(name, threads=1).card
        parameters = DenoiserParameters.of(card)
        assert parameters.receptive_field is not None
        part = largest_side(parameters.receptive_field, parameters.grid) ** 2 + 1
        assert card.runtime.batch_elements is not None
        assert part <= card.runtime.batch_elements < 2 * part


WIDTH = 16
"""Channels of the network that takes much memory."""

_SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from services.medical.low_dose_ct.inference import denoise
from shared.runtime.models.sessions import OnnxModel
model = OnnxModel.open(Path(sys.argv[1]), threads=1)
image = np.full((2048, 2048), 0.25, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
after = denoise(image, model).after
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, float(after.min()), float(after.max()))
"""


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """In a process of its own, whose peak is that of this image alone."""
    folder = _release_wide(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder)], capture_output=True, text=True, check=True, timeout=120
    )
    kibibytes, lowest, highest = done.stdout.split()
    assert int(kibibytes) * 1024 < 400 * MEBIBYTE
    assert float(lowest) == float(highest) == pytest.approx(0.25)


def _release_wide(models: Path) -> Path:
    """A network that copies its image through many channels: three layers of 2048x2048 take 768 MiB."""
    spread = numpy_helper.from_array(np.ones((WIDTH, 1, 1, 1), np.float32), "spread")
    gather = numpy_helper.from_array(np.full((1, WIDTH, 1, 1), 1 / WIDTH, np.float32), "gather")
    sizes: list[str | int | None] = ["batch", 1, "height", "width"]
    image, clean = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in ("image", "clean"))
    level = helper.make_tensor_value_info("noise_level", TensorProto.FLOAT, ["batch"])
    nodes = [
        helper.make_node("Conv", ["image", "spread"], ["features"]),
        helper.make_node("Sigmoid", ["features"], ["bent"]),
        helper.make_node("Sub", ["features", "bent"], ["less"]),
        helper.make_node("Add", ["less", "bent"], ["same"]),
        helper.make_node("Conv", ["same", "gather"], ["clean"]),
    ]
    graph = helper.make_graph(nodes, "wide", [image, level], [clean], [spread, gather])
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = made.SerializeToString()
    card = card_of(content, parameters={"receptive_field": 0, "grid": 1})
    write_model(models, ModelCard.model_validate(card), content)
    return models / "low-dose-ct" / "1.0.0"
