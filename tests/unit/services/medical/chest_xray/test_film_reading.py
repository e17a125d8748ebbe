"""Which files become films, and what is said of those that do not."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from services.medical.chest_xray.demo import draw_chest
from services.medical.chest_xray.film_reading import SHORTEST_SIDE, read_film
from services.medical.chest_xray.films import Film
from shared.imaging.pictures import encode_png
from shared.imaging.signatures import MediaType
from shared.problems import ContentTooLarge, Problem, UnprocessableContent, UnsupportedMediaType
from tests.support.capability import png
from tests.unit.services.medical.chest_xray.conftest import (
    FILM,
    FILM_LOWEST_WHITE,
    PICTURE,
    PIXEL_LIMIT,
    SECRET,
    as_file,
    film_dataset,
    ramp,
)
from tests.unit.shared.imaging.jpeg_lossless import encode_jpeg_lossless


def read(data: bytes) -> Film:
    return read_film(data, pixel_limit=PIXEL_LIMIT, pointer="/body/file/3")


def refusal(data: bytes, kind: type[Problem] = UnprocessableContent) -> str:
    with pytest.raises(kind) as raised:
        read(data)
    assert [one.pointer for one in raised.value.errors] == ["/body/file/3"]
    return raised.value.detail


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", **options)
    return stream.getvalue()


def chest_image() -> Image.Image:
    return Image.open(io.BytesIO(PICTURE))


def test_both_polarities_show_the_same_film() -> None:
    one, other = read(FILM), read(FILM_LOWEST_WHITE)
    assert np.abs(one.pixels - other.pixels).max() < 1e-3
    assert one.valid is not None
    assert other.valid is not None
    assert np.array_equal(one.valid, other.valid)
    assert (one.photometric, other.photometric) == ("MONOCHROME2", "MONOCHROME1")
    assert (one.view, one.modality, one.media_type) == ("PA", "CR", MediaType.DICOM)
    assert one.source is not None
    assert "PixelData" not in one.source


def test_what_a_dicom_film_shows_is_what_was_drawn() -> None:
    found, drawn = read(FILM), draw_chest()
    assert found.valid is not None
    assert np.corrcoef(found.pixels[found.valid], drawn[found.valid])[0, 1] > 0.9999


def test_sixteen_bits_of_a_png_are_kept() -> None:
    stored = ramp(high=65535)
    found = read(encode_png(stored.astype(np.uint16)))
    assert np.abs(found.pixels - stored / 65535).max() < 1e-6
    assert len(np.unique(found.pixels)) > 7000
    assert (found.view, found.source, found.valid) == (None, None, None)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_png_that_is_grey_is_a_film_in_whatever_mode(mode: str) -> None:
    found = read(png(chest_image().convert(mode)))
    assert np.array_equal(found.pixels, read(PICTURE).pixels)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_is_grey_is_a_film(mode: str) -> None:
    found = read(jpeg(chest_image().convert(mode), quality=90))
    assert found.media_type is MediaType.JPEG
    assert np.abs(found.pixels - read(PICTURE).pixels).mean() < 0.02


def test_a_coloured_marker_is_no_colour_picture_but_a_photograph_is() -> None:
    image = chest_image().convert("RGB")
    image.paste((255, 0, 0), (5, 5, 20, 20))
    assert read(png(image)).shape == (640, 512)
    grey = np.asarray(chest_image(), np.float32)
    tinted = np.stack([grey, grey * 0.8, grey * 0.6], axis=2).astype(np.uint8)
    assert "colours" in refusal(png(tinted))
    assert "colours" in refusal(jpeg(Image.fromarray(tinted)))


def test_a_turned_jpeg_is_read_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read(jpeg(chest_image(), exif=exif)).shape == (512, 640)


def test_transparent_pixels_are_refused() -> None:
    image = chest_image().convert("RGBA")
    image.putalpha(200)
    assert "transparent" in refusal(png(image))


@pytest.mark.parametrize("side", [1, SHORTEST_SIDE - 1])
def test_a_tiny_film_is_refused(side: int) -> None:
    assert f"at least {SHORTEST_SIDE}" in refusal(encode_png(ramp(side, 200, high=255).astype(np.uint8)))
    assert f"at least {SHORTEST_SIDE}" in refusal(as_file(film_dataset(ramp(200, side))))


def test_a_film_of_one_grey_is_refused() -> None:
    assert "same grey" in refusal(encode_png(np.full((100, 100), 7, np.uint8)))
    assert "same grey" in refusal(as_file(film_dataset(np.full((100, 100), 7, np.uint16))))
    padded = film_dataset(ramp())
    padded.add_new("PixelPaddingValue", "US", 0)
    padded.add_new("PixelPaddingRangeLimit", "US", 65535)
    assert "same grey" in refusal(as_file(padded))


@pytest.mark.parametrize("view", ["LATERAL", "LL", "RL", "LLO", "RAO"])
def test_a_lateral_film_is_refused(view: str) -> None:
    assert f"is {view}" in refusal(as_file(film_dataset(ViewPosition=view)))


@pytest.mark.parametrize("view", ["PA", "AP", None, "", "AP AXIAL"])
def test_a_frontal_film_is_taken_and_one_that_states_nothing(view: str | None) -> None:
    assert read(as_file(film_dataset(ViewPosition=view))).view == (view or None)


def test_a_view_code_says_it_too() -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "399173006", "SCT", "left lateral"
    dataset = film_dataset(ViewPosition=None)
    dataset.ViewCodeSequence = Sequence([item])
    assert "0054,0220" in refusal(as_file(dataset))
    item.CodeMeaning = "postero-anterior"
    assert read(as_file(dataset)).shape == (640, 512)


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "MG", "OT", None])
def test_another_modality_is_refused(modality: str | None) -> None:
    assert f"is {modality or 'nothing'}" in refusal(as_file(film_dataset(Modality=modality)))


@pytest.mark.parametrize("modality", ["CR", "DX", "DR"])
def test_radiographs_are_taken(modality: str) -> None:
    assert read(as_file(film_dataset(Modality=modality))).modality == modality


@pytest.mark.parametrize("part", ["HAND", "SKULL", "LSPINE"])
def test_another_body_part_is_refused(part: str) -> None:
    assert part in refusal(as_file(film_dataset(BodyPartExamined=part)))


@pytest.mark.parametrize("part", ["CHEST", "THORAX", "PORT CHEST", None])
def test_a_chest_by_any_name_is_taken(part: str | None) -> None:
    assert read(as_file(film_dataset(BodyPartExamined=part))).shape == (640, 512)


def test_several_frames_and_colour_are_refused() -> None:
    assert "5 frames" in refusal(as_file(film_dataset(NumberOfFrames=5)))
    assert "RGB" in refusal(as_file(film_dataset(PhotometricInterpretation="RGB", SamplesPerPixel=3)))


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
def test_pixels_that_are_no_squares_are_known(keyword: str) -> None:
    dataset = film_dataset(ImagerPixelSpacing=None)
    setattr(dataset, keyword, ["2", "1"])
    assert read(as_file(dataset)).aspect == 2
    setattr(dataset, keyword, ["90", "1"])
    assert keyword in refusal(as_file(dataset))


@pytest.mark.parametrize("spacing", [["0", "0"], ["nan", "1"], ["-1", "1"], ["1"]])
def test_a_spacing_that_is_none_is_left_alone(spacing: list[str]) -> None:
    dataset = film_dataset(ImagerPixelSpacing=None)
    dataset.add_new("PixelSpacing", "LO", spacing)
    assert read(as_file(dataset)).aspect == 1


def test_jpeg_lossless_is_read() -> None:
    stored = ramp()
    dataset = film_dataset(stored)
    plain = read(as_file(dataset)).pixels
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = encapsulate([encode_jpeg_lossless(stored)])
    assert np.array_equal(read(as_file(dataset)).pixels, plain)
    dataset.PixelData = encapsulate([encode_jpeg_lossless(stored)[:600]])
    assert "cut off" in refusal(as_file(dataset))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_films_are_those_that_were_compressed(syntax: pydicom.uid.UID) -> None:
    dataset = film_dataset()
    plain = read(as_file(dataset)).pixels
    options: dict[str, Any] = {"generate_instance_uid": False}
    dataset.compress(syntax, **options)
    assert np.array_equal(read(as_file(dataset)).pixels, plain)


def test_a_deflated_film_is_read() -> None:
    dataset = film_dataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(read(as_file(dataset)).pixels, read(FILM).pixels)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9999])
def test_a_file_that_is_cut_off_is_refused(share: float) -> None:
    for data, kind in ((FILM, "DICOM"), (PICTURE, "PNG"), (jpeg(chest_image()), "JPEG")):
        with pytest.raises((UnprocessableContent, UnsupportedMediaType)) as raised:
            read(data[: int(len(data) * share)])
        assert raised.value.detail, kind


@pytest.mark.parametrize("data", [b"", b"GIF89a....", b"%PDF-1.4", b"{}", bytes(400)])
def test_what_is_no_film_at_all_is_refused(data: bytes) -> None:
    assert "not DICOM or PNG or JPEG" in refusal(data, UnsupportedMediaType)


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    dataset = film_dataset(Rows=60000, Columns=60000)
    assert "60000 x 60000" in refusal(as_file(dataset), ContentTooLarge)
    huge = bytearray(PICTURE)
    huge[16:24] = (60000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    refusal(bytes(huge), ContentTooLarge)


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 0},
        {"Rows": None},
        {"BitsAllocated": 32},
        {"BitsStored": 0},
        {"PixelRepresentation": 7},
        {"SamplesPerPixel": None},
        {"Rows": 641},
    ],
    ids=str,
)
def test_a_layout_that_cannot_be_is_refused(elements: dict[str, Any]) -> None:
    refusal(as_file(film_dataset(**elements)))


def test_no_problem_says_anything_of_the_patient() -> None:
    secret: dict[str, Any] = {"PatientName": SECRET, "PatientID": SECRET, "StudyDescription": SECRET}
    cases: tuple[dict[str, Any], ...] = (
        {"Modality": "CT"},
        {"ViewPosition": SECRET[:16]},
        {"Rows": 0},
        {"PhotometricInterpretation": SECRET[:16]},
        {"BodyPartExamined": "HAND"},
        {"Modality": SECRET[:16]},
    )
    for broken in cases:
        try:
            read(as_file(film_dataset(**secret, **broken)))
        except Problem as problem:
            assert "Secret" not in str(problem.details())
