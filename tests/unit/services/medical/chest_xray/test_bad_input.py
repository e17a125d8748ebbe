"""What the route of chest X-ray refuses, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pydicom
import pytest

from services.medical.app import create_app
from tests.support.capability import running_capability
from tests.support.chest_xray_models import (
    constant_model,
    release_chest_model,
)
from tests.support.tiny_models import release
from tests.unit.services.medical.chest_xray.conftest import (
    FILM,
    PICTURE,
    SECRET,
    as_file,
    described,
    diagnose,
    expected,
    film_dataset,
    ramp,
    slope,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_is_no_chest_is_refused_with_its_score(client: httpx.AsyncClient) -> None:
    answer = await diagnose(client, slope())
    assert answer.status_code == 422
    problem = answer.json()
    _, _, frontal = expected(slope())
    assert problem["errors"][0]["pointer"] == "/body/file/0"
    for said in (
        "not a frontal chest film",
        f"{frontal:.2f}",
        "(0.00)",
        "2.5%",
        "films drawn for tests",
        "screen=false",
    ):
        assert said in problem["detail"]


async def test_of_several_films_those_that_are_none_are_named(client: httpx.AsyncClient) -> None:
    answer = await diagnose(client, FILM, slope(), PICTURE, slope())
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/body/file/1", "/body/file/3"]


async def test_an_owner_overrides_the_refusal_and_is_told_so(client: httpx.AsyncClient) -> None:
    (found,) = await described(client, slope(), screen="false")
    assert found["screening"]["passed"] is False
    assert any("screen=false" in caveat for caveat in found["caveats"])
    picture = await diagnose(client, slope(), accept="image/png", screen="false")
    assert "Not screened in." in picture.headers["facet-notice"]
    (passed,) = await described(client, FILM, screen="false")
    assert not any("screen=false" in caveat for caveat in passed["caveats"])


@pytest.mark.parametrize("dicom", ["parametric-map", "segmentation", "report"])
async def test_a_picture_has_no_dicom_answer(client: httpx.AsyncClient, dicom: str) -> None:
    answer = await diagnose(client, PICTURE, accept="application/dicom", dicom=dicom)
    assert answer.status_code == 406
    assert "refers to the object" in answer.json()["detail"]


async def test_a_film_without_a_uid_has_none_either(client: httpx.AsyncClient) -> None:
    answer = await diagnose(client, _without_uid(film_dataset()), accept="application/dicom")
    assert answer.status_code == 422
    assert "0008,0018" in answer.json()["detail"]


def _without_uid(dataset: pydicom.Dataset) -> bytes:
    """A file whose SOP Instance UID is none."""
    data = as_file(dataset)
    uid = str(dataset.SOPInstanceUID).encode()
    place = data.rindex(uid)
    return data[:place] + b"not.a.uid".ljust(len(uid), b"x") + data[place + len(uid) :]


@pytest.mark.parametrize(
    ("form", "pointer"),
    [
        ({"overlay": "heat"}, "/body/overlay"),
        ({"dicom": "seg"}, "/body/dicom"),
        ({"region_share": "0"}, "/body/region_share"),
        ({"region_share": "nan"}, "/body/region_share"),
        ({"evidence_class": "covid"}, "/body/evidence_class"),
        ({"screen": "perhaps"}, "/body/screen"),
        ({"calibration": "../x"}, "/body/calibration"),
        ({"alpha": "1"}, "/body/alpha"),
        ({"surprise": "1"}, "/body/surprise"),
        ({"store": "dicom"}, "/body/store"),
    ],
)
async def test_options_that_do_not_fit_are_refused_by_name(
    client: httpx.AsyncClient, form: dict[str, str], pointer: str
) -> None:
    accept = "image/png" if "store" in form else "application/json"
    answer = await diagnose(client, FILM, accept=accept, **form)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"GIF89a", 415),
        (FILM[:900], 422),
        (FILM[:-1000], 422),
        (PICTURE[:-50], 422),
        (as_file(film_dataset(Modality="CT")), 422),
        (as_file(film_dataset(ViewPosition="LL")), 422),
        (as_file(film_dataset(Rows=65000, Columns=65000)), 413),
        (as_file(film_dataset(ramp(), WindowCenter="1", WindowWidth="0")), 422),
    ],
    ids=["empty", "gif", "head", "cut off", "cut off png", "ct", "lateral", "huge", "no width"],
)
async def test_bad_files_are_refused_and_named(client: httpx.AsyncClient, data: bytes, status: int) -> None:
    answer = await diagnose(client, PICTURE, data)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/body/file/1"]


async def test_files_are_stored_of_one_film_only(client: httpx.AsyncClient) -> None:
    answer = await diagnose(client, FILM, FILM, store="png")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/store")


async def test_nothing_of_the_patient_is_logged_or_answered(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = film_dataset(PatientName=SECRET, PatientID="SECRET-ID", StudyDescription="SECRET-STUDY")
    uid = str(secret.SOPInstanceUID)
    broken = film_dataset(PatientName=SECRET, PatientID="SECRET-ID", Modality="MR")
    broken.add_new("PatientBirthDate", "DA", "SECRETDAY")
    capfd.readouterr()
    said = []
    for film in (secret, broken):
        for accept in ("application/json", "image/png", "application/x-npy"):
            answer = await diagnose(client, as_file(film), accept=accept)
            said.append(answer.content.decode("latin-1") + str(answer.headers))
    for dicom in ("parametric-map", "segmentation", "report"):
        answer = await diagnose(client, as_file(secret), accept="application/dicom", dicom=dicom)
        assert answer.status_code == 200
        said.append(str(answer.headers))
    logged = "".join(capfd.readouterr())
    assert "/v1/medical/chest-xray/diagnoses" in logged
    for text in (*said, logged):
        assert "SECRET" not in text.upper()
        assert uid not in text


async def test_without_a_model_the_route_says_so(tmp_path: Path) -> None:
    (tmp_path / "models" / "medical").mkdir(parents=True)
    async with running_capability(create_app, tmp_path) as client:
        answer = await diagnose(client, FILM)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "chest-xray-attention is not released" in answer.json()["detail"]
        assert (await diagnose(client, FILM, model="another")).status_code == 404


async def test_another_model_is_asked_by_name_and_one_of_another_kind_is_refused(tmp_path: Path) -> None:
    models = tmp_path / "models" / "medical"
    release_chest_model(models, constant_model(logits=[0, 0, 9]), name="only-one")
    release(models, "gaussian-denoiser", kind="brighten")
    async with running_capability(create_app, tmp_path) as client:
        for form in ({"model": "only-one"}, {}):
            (found,) = await described(client, FILM, **form)
            assert found["most_probable"] == "pneumonia"
        refused = await diagnose(client, FILM, model="gaussian-denoiser")
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/body/model")
        assert "cannot read chest films" in refused.json()["detail"]
