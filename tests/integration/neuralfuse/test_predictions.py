"""Predictions at low voltage over HTTP, in the real security service, beside graphs that are perturbed here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.security.app import create_app
from services.security.bit_errors.faults import FaultModel, draw_faults
from services.security.neuralfuse.capability import PATH
from services.security.neuralfuse.demo import stop_sign
from shared.imaging.preprocessing import Preprocessing
from tests.integration.neuralfuse.conftest import Service
from tests.support.capability import png, running_capability
from tests.support.neuralfuse_models import (
    BASE,
    CLASSES,
    GENERATOR,
    LABELS,
    SMALL_GENERATOR,
    base_model,
    base_weights,
    generator_model,
    release_base,
    release_generators,
)

ROUTE = f"{PATH}/predictions"
PICTURE = stop_sign()

SIDE = 384
"""Of a panel."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def post(client: httpx.AsyncClient, *files: bytes, accept: str = "*/*", **form: Any) -> httpx.Response:
    parts = [("file", ("picture", data)) for data in files or (PICTURE,)]
    return await client.post(ROUTE, files=parts, data=form, headers={"Accept": accept})


async def answer(client: httpx.AsyncClient, *files: bytes, **form: Any) -> dict[str, Any]:
    response = await post(client, *files, **form)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def run(content: bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pictures": pictures})
    return np.asarray(found, np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exponents: NDArray[np.float64] = np.exp(logits.astype(np.float64) - logits.max())
    shares: NDArray[np.float64] = exponents / exponents.sum()
    return shares


def seen(picture: bytes = PICTURE) -> NDArray[np.float32]:
    return Preprocessing().read(picture, height=32, width=32, pixel_limit=10**6, pointer="")[None]


def with_bit_errors(faults: FaultModel, seed: int) -> bytes:
    """The classifier as a file whose bytes are what a chip reads."""
    constants = base_weights()
    for number, name in enumerate(("kernel", "head")):
        values = constants[name]
        constants[name] = draw_faults(faults, seed, values.size, tensor=number).read(values)
    return base_model(constants)


@pytest.mark.parametrize(("fault", "layout"), [("stuck_at", "tiled"), ("flip", "iid")])
async def test_each_chip_says_what_the_classifier_with_its_bytes_says(
    service: Service, fault: Any, layout: Any
) -> None:
    form = {"bit_error_rate": 0.05, "fault": fault, "layout": layout, "seeds": [3, 4, 5], "top": CLASSES}
    said = await answer(service.client, **form)
    transformed = run(generator_model(), seen())
    (picture,) = said["predictions"]
    for way, pictures in (("unprotected", seen()), ("protected", transformed)):
        nominal = {one["class_id"]: one["probability"] for one in picture["nominal"][way]["top"]}
        expected = softmax(run(base_model(), pictures)[0])
        np.testing.assert_allclose([nominal[label] for label in range(CLASSES)], expected, atol=1e-5)
        rows = [softmax(run(with_bit_errors(FaultModel(0.05, fault, layout), seed), pictures)[0]) for seed in (3, 4, 5)]
        low = picture["low_voltage"][way]
        for row, chip in zip(rows, low["seeds"], strict=True):
            assert chip["class_id"] == int(row.argmax())
            assert chip["name"] == LABELS[chip["class_id"]]
            assert chip["probability"] == pytest.approx(row.max(), abs=1e-5)
        mean = {one["class_id"]: one["probability"] for one in low["top"]}
        np.testing.assert_allclose([mean[label] for label in range(CLASSES)], np.mean(rows, axis=0), atol=1e-5)
        reference = int(softmax(run(base_model(), seen())[0]).argmax())
        assert low["agreement"] == pytest.approx(np.mean([row.argmax() == reference for row in rows]))
    assert [chip["seed"] for chip in picture["low_voltage"]["protected"]["seeds"]] == [3, 4, 5]


async def test_the_flip_rate_is_that_of_the_bytes(service: Service) -> None:
    said = await answer(service.client, bit_error_rate=0.2, seeds=[1, 2], layout="iid")
    weights = base_weights()
    rates = []
    for seed in (1, 2):
        written = [weights[name] for name in ("kernel", "head")]
        read = [
            draw_faults(FaultModel(0.2, layout="iid"), seed, one.size, tensor=number).read(one)
            for number, one in enumerate(written)
        ]
        flipped = sum(int(np.bitwise_count((a ^ b).view(np.uint8)).sum()) for a, b in zip(written, read, strict=True))
        rates.append(flipped / (8 * sum(one.size for one in written)))
    assert said["faults"]["flip_rate"] == pytest.approx(np.mean(rates))
    assert 0.05 < said["faults"]["flip_rate"] < 0.15, "half of the stuck cells hold the right value"
    assert (said["faults"]["weights"], said["faults"]["quantised_here"]) == (8 * 27 + 8 * 6, False)


async def test_by_default_the_released_pair_is_asked_at_one_percent_on_the_ten_chips_of_the_paper(
    service: Service,
) -> None:
    said = await answer(service.client)
    assert said["model"]["name"] == BASE
    assert said["generator"]["model"]["name"] == GENERATOR, "of two the one with the larger file"
    assert (said["generator"]["transferred"], said["generator"]["trained_for"]["base_sha256"]) == (
        False,
        service.base_sha256,
    )
    faults = said["faults"]
    assert (faults["kind"], faults["layout"], faults["bit_error_rate"]) == ("stuck_at", "tiled", 0.01)
    assert faults["voltage"] == pytest.approx(0.833, abs=1e-3)
    chips = said["predictions"][0]["low_voltage"]["unprotected"]["seeds"]
    assert [one["seed"] for one in chips] == list(range(50_000, 50_010))


async def test_energy_is_the_published_arithmetic_and_says_so(service: Service) -> None:
    energy = (await answer(service.client))["energy"]
    assert energy["ratio"] == pytest.approx(0.694)
    by_accesses, by_macs = energy["estimates"]
    assert by_accesses["saving_percent"] == pytest.approx(17.05, abs=0.01), "17.1 in Table 2"
    assert by_macs["saving_percent"] == pytest.approx(3.62, abs=0.01), "3.6 in Table 8"
    assert "no measurement" in energy["statement"]


async def test_energy_of_other_networks_is_counted_in_their_graphs_and_may_be_negative(service: Service) -> None:
    said = await answer(service.client, model="other", generator=GENERATOR)
    (estimate,) = said["energy"]["estimates"]
    assert estimate["source"] == "MACs counted in the graphs"
    assert estimate["base"] == 32 * 32 * 8 * 27 + 8 * 6
    assert estimate["generator"] == 32 * 32 * 3 * 27
    assert estimate["saving_percent"] == pytest.approx(30.6 - 100 * estimate["generator"] / estimate["base"])
    assert estimate["saving_percent"] < 0


async def test_a_voltage_stands_in_place_of_a_rate(service: Service) -> None:
    said = await answer(service.client, voltage=0.9, seeds=[1])
    assert said["faults"]["voltage"] == pytest.approx(0.9)
    assert 0.0001 < said["faults"]["bit_error_rate"] < 0.01
    assert said["energy"]["ratio"] == pytest.approx(0.81)


async def test_a_rate_without_a_voltage_has_no_energy(service: Service) -> None:
    said = await answer(service.client, bit_error_rate=0.3, seeds=[1])
    assert (said["faults"]["voltage"], said["energy"]["ratio"], said["energy"]["estimates"]) == (None, None, [])
    assert any("0.003% to 1.57%" in caveat for caveat in said["caveats"])


async def test_without_faulty_cells_low_voltage_says_what_nominal_voltage_says(service: Service) -> None:
    said = await answer(service.client, bit_error_rate=0, seeds=[1, 2])
    (picture,) = said["predictions"]
    for way in ("unprotected", "protected"):
        assert picture["low_voltage"][way]["top"] == picture["nominal"][way]["top"]
    assert picture["low_voltage"]["unprotected"]["agreement"] == 1
    assert said["faults"]["flip_rate"] == 0


async def test_without_a_generator_nothing_is_protected(service: Service) -> None:
    said = await answer(service.client, generator="none", seeds=[1])
    (picture,) = said["predictions"]
    assert said["generator"] is None
    assert picture["nominal"]["protected"] is picture["low_voltage"]["protected"] is None
    assert said["energy"]["estimates"][0]["saving_percent"] == pytest.approx(30.6)


async def test_a_generator_may_serve_another_classifier_of_another_domain(service: Service) -> None:
    """Restricted access; the classifier's weights are rounded to eight bits, its pictures normalised by its card."""
    said = await answer(service.client, model="other", generator=SMALL_GENERATOR, seeds=[7], top=CLASSES)
    assert said["generator"]["transferred"]
    assert said["generator"]["trained_for"]["base"] == BASE
    assert any("another classifier" in one for one in said["caveats"])
    assert said["faults"]["quantised_here"]
    (picture,) = said["predictions"]
    content = (service.models / "perception" / "other" / "1.0.0" / "model.onnx").read_bytes()
    mean, std = (np.array(one, np.float32).reshape(1, 3, 1, 1) for one in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    for way, pictures in (("unprotected", seen()), ("protected", run(generator_model(seed=2), seen()))):
        expected = softmax(run(content, (pictures - mean) / std)[0])
        found = {one["class_id"]: one["probability"] for one in picture["nominal"][way]["top"]}
        np.testing.assert_allclose([found[label] for label in range(CLASSES)], expected, atol=0.02)


async def test_a_classifier_that_no_generator_was_trained_for_is_not_protected_unless_asked(service: Service) -> None:
    said = await answer(service.client, model="other", seeds=[1])
    assert said["generator"] is None
    assert any("nothing here is protected" in one for one in said["caveats"])


async def test_pictures_keep_their_order_and_are_answered_as_each_alone(service: Service) -> None:
    other = png(Image.new("RGB", (40, 30), (10, 200, 30)))
    both = (await answer(service.client, PICTURE, other, seeds=[1, 2]))["predictions"]
    alone = [(await answer(service.client, one, seeds=[1, 2]))["predictions"][0] for one in (PICTURE, other)]
    assert [one["index"] for one in both] == [0, 1]
    for one, single in zip(both, alone, strict=True):
        for way in ("unprotected", "protected"):
            assert one["low_voltage"][way]["vote"] == single["low_voltage"][way]["vote"]
            assert one["nominal"][way]["top"][0]["probability"] == pytest.approx(
                single["nominal"][way]["top"][0]["probability"], abs=1e-5
            )


async def test_the_picture_may_be_the_body_with_options_in_the_query(service: Service) -> None:
    raw = await service.client.post(
        f"{ROUTE}?seeds=1&seeds=2&fault=flip", content=PICTURE, headers={"Content-Type": "image/png"}
    )
    assert raw.json() == await answer(service.client, seeds=[1, 2], fault="flip")


async def test_the_same_request_has_the_same_answer_whatever_was_kept(service: Service) -> None:
    first = await answer(service.client, seeds=[11, 12])
    assert await answer(service.client, seeds=[12]) != first
    assert await answer(service.client, seeds=[11, 12]) == first


async def test_png_shows_each_picture_beside_what_the_protected_network_sees(service: Service) -> None:
    response = await post(service.client, PICTURE, PICTURE, accept="image/png", seeds=[1])
    assert response.headers["content-type"] == "image/png"
    assert f'{BASE};version="1.0.0";sha256="{service.base_sha256}"' == response.headers["facet-model"]
    shown = np.asarray(Image.open(io.BytesIO(response.content)))
    assert shown.shape == (2 * (SIDE + 36 + 8) + 8, 2 * (SIDE + 8) + 8, 3)
    gap, side, step = 8, SIDE, SIDE // 32
    left, right = (shown[gap : gap + side : step, start : start + side : step] for start in (gap, 2 * gap + side))
    for panel, pictures in ((left, seen()), (right, run(generator_model(), seen()))):
        np.testing.assert_array_equal(panel, np.rint(255 * pictures[0]).astype(np.uint8).transpose(1, 2, 0))
    alone = await post(service.client, accept="image/png", seeds=[1], generator="none")
    assert np.asarray(Image.open(io.BytesIO(alone.content))).shape[1] == SIDE + 16


@pytest.mark.parametrize(
    ("data", "form", "status", "pointer"),
    [
        (b"", {}, 422, "/body/file"),
        (b"no image", {}, 415, "/body/file"),
        (PICTURE[:-20], {}, 422, "/body/file"),
        (PICTURE, {"voltage": "0.9", "bit_error_rate": "0.01"}, 422, "/body/voltage"),
        (PICTURE, {"voltage": "0.7"}, 422, "/body/voltage"),
        (PICTURE, {"voltage": "1.2"}, 422, "/body/voltage"),
        (PICTURE, {"voltage": "nan"}, 422, "/body/voltage"),
        (PICTURE, {"bit_error_rate": "0.6"}, 422, "/body/bit_error_rate"),
        (PICTURE, {"bit_error_rate": "inf"}, 422, "/body/bit_error_rate"),
        (PICTURE, {"fault": "melt"}, 422, "/body/fault"),
        (PICTURE, {"layout": "diagonal"}, 422, "/body/layout"),
        (PICTURE, {"seeds": "-1"}, 422, "/body/seeds"),
        (PICTURE, {"seeds": "4294967295"}, 422, "/body/seeds"),
        (PICTURE, {"seeds": [str(seed) for seed in range(33)]}, 422, "/body/seeds"),
        (PICTURE, {"top": "7"}, 422, "/body/top"),
        (PICTURE, {"generator": "nobody"}, 422, "/body/generator"),
        (PICTURE, {"generator": BASE}, 422, "/body/generator"),
        (PICTURE, {"model": GENERATOR}, 422, "/body/model"),
        (PICTURE, {"model": "odd-side", "generator": GENERATOR}, 422, "/body/generator"),
        (PICTURE, {"unknown": "1"}, 422, "/body/unknown"),
        (PICTURE, {"model": "nobody"}, 404, None),
    ],
)
async def test_bad_input_is_named(
    service: Service, data: bytes, form: dict[str, Any], status: int, pointer: str | None
) -> None:
    response = await post(service.client, data, **form)
    assert response.status_code in {status, 503 if status == 404 else status}, response.text
    assert response.headers["content-type"] == "application/problem+json"
    errors = [error["pointer"] for error in response.json().get("errors", [])]
    assert pointer is None or any(f"{one}/".startswith(f"{pointer}/") for one in errors), response.text


async def test_sides_that_no_generator_takes_do_without(service: Service) -> None:
    said = await answer(service.client, model="odd-side", seeds=[1])
    assert said["generator"] is None


async def test_what_would_take_too_long_is_refused_with_its_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_generators(tmp_path / "models" / "security", release_base(tmp_path / "models" / "security"))
    monkeypatch.setenv("FACET_NEURALFUSE_MOST_MACS", "20e6")
    async with running_capability(create_app, tmp_path, pixel_limit=100_000) as client:
        assert (await post(client)).status_code == 200
        refused = await post(client, *([PICTURE] * 8), seeds=list(range(10)))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/body/seeds"
    assert "8 pictures, 10 seeds" in refused.json()["detail"]


async def test_where_nothing_is_released_a_classifier_is_asked_for_by_name(unreleased: httpx.AsyncClient) -> None:
    refused = await post(unreleased)
    assert refused.status_code == 422, refused.text
    assert [one["pointer"] for one in refused.json()["errors"]] == ["/body/model"]
    assert "No base model" in refused.json()["detail"]
    said = await answer(unreleased, model="other", seeds=[1])
    assert (said["model"]["name"], said["generator"]) == ("other", None)
    wanted = await post(unreleased, model="other", generator="neuralfuse-unetl-vgg11")
    assert "none is released" in wanted.json()["detail"]
    assert (await unreleased.get(f"{PATH}/generators")).json() == {"generators": [], "bases": []}
