"""Whatever is posted to the CT routes: a 4xx problem that names place and fault, and a service that goes on serving."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import HEVCMP51, MPEG2MPML, UID

from shared.imaging.dicom_writing import new_ct
from tests.support.capability import npy
from tests.unit.services.medical.low_dose_ct.conftest import CT, SMALL_FORM, sinogram, slice_hu

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECONSTRUCT, ENHANCE, SIMULATE = f"{CT}/reconstructions", f"{CT}/enhancements", f"{CT}/simulations"


@dataclass(frozen=True)
class Case:
    """A request and what it has to be answered with."""

    name: str
    route: str
    file: bytes | None
    status: int
    word: str
    pointer: str | None = "/body/file"
    form: dict[str, str] = field(default_factory=dict)
    reference: bytes | None = None
    accept: str = "application/json"
    file_name: str = "scan"

    @property
    def files(self) -> dict[str, Any]:
        parts = {"file": (self.file_name, self.file), "reference": ("reference", self.reference)}
        return {name: part for name, part in parts.items() if part[1] is not None}

    @property
    def data(self) -> dict[str, str]:
        return (SMALL_FORM if self.route == RECONSTRUCT else {}) | self.form


def with_value(array: NDArray[Any], value: float) -> bytes:
    changed = array.copy()
    changed[3, 4] = value
    return npy(changed)


def npy_header(shape: str, *, dtype: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def dicom(**attributes: Any) -> bytes:
    data = new_ct(slice_hu(), spacing_mm=(1, 1), series_description="-", derivation="-")
    dataset = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    changed = io.BytesIO()
    dataset.save_as(changed)
    return changed.getvalue()


def dicom_in(syntax: UID) -> bytes:
    data = dicom()
    changed = pydicom.dcmread(io.BytesIO(data))
    changed.file_meta.TransferSyntaxUID = syntax
    changed.PixelData = pydicom.encaps.encapsulate([b"\x00\x00\x01\xb3" * 20])
    changed["PixelData"].is_undefined_length = True
    changed["PixelData"].VR = "OB"
    stream = io.BytesIO()
    changed.save_as(stream)
    return stream.getvalue()


def image_file(kind: str, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (64, 64), "teal" if mode == "RGB" else 120).save(stream, format=kind)
    return stream.getvalue()


SCAN, SLICE = npy(sinogram()), npy(slice_hu())

CASES = [
    # Arrays
    Case("NaN in a sinogram", RECONSTRUCT, with_value(sinogram(), np.nan), 422, "1 NaN"),
    Case("infinite value in a sinogram", RECONSTRUCT, with_value(sinogram(), np.inf), 422, "1 infinite"),
    Case("NaN in a slice", ENHANCE, with_value(slice_hu(), np.nan), 422, "[3, 4]"),
    Case("infinite value in a slice", ENHANCE, with_value(slice_hu(), -np.inf), 422, "1 infinite"),
    Case("NaN in a slice to scan", SIMULATE, with_value(slice_hu(), np.nan), 422, "1 NaN"),
    Case("one dimension", RECONSTRUCT, npy(sinogram().ravel()), 422, "1 dimension"),
    Case("three dimensions", ENHANCE, npy(np.zeros((2, 48, 48))), 422, "3 dimension"),
    Case("no elements", ENHANCE, npy(np.zeros((0, 48))), 422, "empty"),
    Case("transposed sinogram", RECONSTRUCT, npy(sinogram().T), 422, "transpose"),
    Case("sinogram of another geometry", RECONSTRUCT, npy(sinogram()[:-1]), 422, "59 rows"),
    Case("LoDoPaB geometry by default", RECONSTRUCT, SCAN, 422, "1000 angles",
         form={"angles": "1000", "detectors": "513"}),
    Case("line integrals called normalised", RECONSTRUCT, npy(sinogram() * 81), 422, "far beyond",
         pointer="/body/sinogram_unit"),
    Case("line integrals beyond counting", RECONSTRUCT, npy(np.full((60, 71), 1e35)), 422, "sinogram reaches",
         pointer="/body/sinogram_unit", form={"sinogram_unit": "line-integral"}),
    Case("values beyond float32", RECONSTRUCT, npy(np.full((60, 71), 1e100)), 422, "sinogram reaches inf",
         pointer="/body/sinogram_unit"),
    Case("values beyond CT", ENHANCE, npy(slice_hu() * 1e6), 422, "no CT holds"),
    Case("HU called normalised", ENHANCE, SLICE, 422, "no CT holds", form={"unit": "normalised"}),
    Case("slice too small", ENHANCE, npy(np.zeros((7, 7))), 422, "at least 8"),
    Case("more pixels than allowed", ENHANCE, npy(np.zeros((2048, 1024), np.int8)), 413, "1048576"),
    # NPY headers
    Case("10 GB claimed by a header", ENHANCE, npy_header("(50000, 50000)"), 413, "50000x50000"),
    Case("10 GB claimed in one dimension", RECONSTRUCT, npy_header("(2500000000,)"), 413, "2500000000"),
    Case("truncated NPY", RECONSTRUCT, SCAN[:-100], 422, "cut off"),
    Case("NPY cut off in its header", ENHANCE, SLICE[:40], 422, "cut off"),
    Case("objects in an NPY", ENHANCE, npy(np.array([["a", {}]], dtype=object)), 422, "dtype"),
    Case("complex numbers", ENHANCE, npy(slice_hu().astype(np.complex64)), 422, "dtype"),
    # Other files
    Case("empty file", ENHANCE, b"", 422, "empty"),
    Case("PDF named .png", ENHANCE, b"%PDF-1.7\n%...", 415, "PDF", file_name="slice.png"),
    Case("text named .npy", RECONSTRUCT, b"1.0, 2.0, 3.0", 415, "plain text", file_name="scan.npy"),
    Case("colour PNG", ENHANCE, image_file("PNG", "RGB"), 422, "colour"),
    Case("truncated PNG", ENHANCE, image_file("PNG", "L")[:60], 422, "cut off"),
    Case("JPEG", ENHANCE, image_file("JPEG", "L"), 415, "JPEG"),
    Case("DICOM as a sinogram", RECONSTRUCT, dicom(), 415, "DICOM"),
    Case("PNG as a sinogram", RECONSTRUCT, image_file("PNG", "L"), 415, "PNG"),
    # DICOM
    Case("truncated DICOM", ENHANCE, dicom()[:-1000], 422, "cut off"),
    Case("DICOM cut off in its elements", ENHANCE, dicom()[:300], 422, "modality"),
    Case("DICOM as MPEG2", ENHANCE, dicom_in(MPEG2MPML), 415, MPEG2MPML),
    Case("DICOM as HEVC", ENHANCE, dicom_in(HEVCMP51), 415, "cannot be decoded"),
    Case("MR instead of CT", ENHANCE, dicom(Modality="MR"), 422, "MR"),
    Case("colour DICOM", ENHANCE, dicom(PhotometricInterpretation="RGB"), 422, "RGB"),
    Case("DICOM without CT values", ENHANCE, dicom(RescaleSlope="0"), 422, "RescaleSlope"),
    Case("several frames", ENHANCE, dicom(NumberOfFrames=2), 422, "2 frames"),
    # References
    Case("reference of another shape", ENHANCE, SLICE, 422, "(47, 48)", pointer="/body/reference",
         reference=npy(slice_hu()[1:])),
    Case("constant reference", RECONSTRUCT, SCAN, 422, "constant", pointer="/body/reference",
         reference=npy(np.ones((48, 48)))),
    Case("reference with NaN", ENHANCE, SLICE, 422, "1 NaN", pointer="/body/reference",
         reference=with_value(slice_hu(), np.nan)),
    Case("empty reference", ENHANCE, SLICE, 422, "empty", pointer="/body/reference", reference=b""),
    # Options
    Case("unknown filter", RECONSTRUCT, SCAN, 422, "shepp-logan", pointer="/body/filter", form={"filter": "gauss"}),
    *(
        Case(f"frequency scaling {scaling}", RECONSTRUCT, SCAN, 422, "frequency_scaling",
             pointer="/body/frequency_scaling", form={"frequency_scaling": scaling})
        for scaling in ("0", "2", "nan", "-inf", "half")
    ),
    *(
        Case(f"{name} {value}", RECONSTRUCT, SCAN, 422, name, pointer=f"/body/{name}", form={name: value})
        for name in ("detector_width_m", "image_width_m")
        for value in ("0", "nan", "inf", "1e-300", "-1")
    ),
    *(
        Case(f"{name} {value}", RECONSTRUCT, SCAN, 422, name, pointer=f"/body/{name}", form={name: value})
        for name, value in (
            ("angles", "0"), ("angles", "60.5"), ("angles", "9" * 30), ("detectors", "1"), ("image_size", "7"),
            ("image_size", "100000"), ("noise_level", "nan"), ("noise_level", "0"), ("noise_level", "0.6"),
            ("model", "resnet"), ("unit", "mm"), ("sinogram_unit", "hu"), ("denoise", "perhaps"), ("ramp", "cone"),
        )
    ),
    *(
        Case(f"window {window!r}", ENHANCE, SLICE, 422, "HU", pointer="/body/window", form={"window": window})
        for window in ("liver?", "40", "40,0", "nan,400", "40,nan", "inf,1", "1,2,3", ",")
    ),
    Case("unknown field", ENHANCE, SLICE, 422, "noise_levle", pointer="/body/noise_levle", form={"noise_levle": "1"}),
    Case("filter where none is used", ENHANCE, SLICE, 422, "filter", pointer="/body/filter", form={"filter": "hann"}),
    # The request itself
    Case("no file", ENHANCE, None, 422, "file", form={"window": "lung"}),
    Case("file sent as text", ENHANCE, None, 422, "must be a file", pointer="/body/file/0", form={"file": "a,b"}),
    Case("HTML wanted", ENHANCE, SLICE, 406, "application/x-npy", pointer=None, accept="text/html"),
    Case("JPEG wanted", RECONSTRUCT, SCAN, 406, "image/png", pointer=None, accept="image/jpeg"),
    Case("everything refused", ENHANCE, SLICE, 406, "Accept", pointer=None, accept="*/*;q=0"),
]  # fmt: skip


def assert_problem(answer: httpx.Response, status: int, word: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["request_id"]) == (status, answer.headers["X-Request-ID"])
    assert word in answer.text
    assert "Traceback" not in answer.text
    return problem


async def assert_still_serving(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.post(ENHANCE, files={"file": ("slice.npy", SLICE)})).status_code == 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_problem_names_place_and_fault(client: httpx.AsyncClient, case: Case) -> None:
    answer = await client.post(case.route, files=case.files or None, data=case.data, headers={"Accept": case.accept})
    problem = assert_problem(answer, case.status, case.word)
    if case.pointer is not None:
        assert case.pointer in [error["pointer"] for error in problem["errors"]]
    await assert_still_serving(client)


@pytest.mark.parametrize("route", [RECONSTRUCT, ENHANCE, SIMULATE])
@pytest.mark.parametrize(
    ("content_type", "body", "status", "word"),
    [
        ("application/json", b'{"file": "abc"}', 415, "multipart/form-data"),
        ("audio/wav", SLICE, 415, "multipart/form-data"),
        ("multipart/form-data", b"--x\r\n", 400, "boundary"),
        ("multipart/form-data; boundary=x", b"no parts here", 400, "multipart"),
    ],
    ids=["JSON", "sound", "no boundary", "no parts"],
)
async def test_body_that_is_no_form(
    client: httpx.AsyncClient, route: str, content_type: str, body: bytes, status: int, word: str
) -> None:
    answer = await client.post(route, content=body, headers={"Content-Type": content_type})
    assert_problem(answer, status, word)
    await assert_still_serving(client)


@pytest.mark.parametrize("route", [RECONSTRUCT, ENHANCE])
async def test_no_body_at_all(client: httpx.AsyncClient, route: str) -> None:
    answer = await client.post(route)
    assert_problem(answer, 422, "file")


async def test_name_of_a_file_is_never_repeated(client: httpx.AsyncClient) -> None:
    answer = await client.post(ENHANCE, files={"file": ("Muster_Erika_1970.png", b"%PDF-1.7")})
    assert "Muster" not in answer.text + str(answer.headers)


async def test_patient_is_never_named(client: httpx.AsyncClient) -> None:
    for damaged in (dicom(PatientName="Muster^Erika", Modality="MR"), dicom(PatientName="Muster^Erika")[:-1000]):
        answer = await client.post(ENHANCE, files={"file": ("slice.dcm", damaged)})
        assert answer.status_code == 422
        assert "Muster" not in answer.text
