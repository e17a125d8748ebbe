"""JSON and files of one computation: `store` keeps what another request would have to compute again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

MEDIA_TYPES = {"json": "application/json", "png": "image/png", "npy": "application/x-npy", "dicom": "application/dicom"}
EXTENSIONS = {"png": "png", "npy": "npy", "dicom": "dcm"}
STORED = [
    ("/v1/medical/ct/enhancements", "low-dose.dcm", ["png", "npy", "dicom"]),
    ("/v1/medical/ct/reconstructions", "low-dose-sinogram.npy", ["npy", "png"]),
    ("/v1/medical/ct/simulations", "normal-dose.dcm", ["npy"]),
    ("/v1/uncertainty/explanations", "explained-sign.png", ["png", "npy"]),
    ("/v1/security/neuralfuse/predictions", "low-voltage-sign.png", ["png"]),
]
ENHANCEMENTS = STORED[0][0]


def post(
    client: httpx.Client, path: str, name: str, *, accept: str = "application/json", **form: Any
) -> httpx.Response:
    content = client.get(f"/docs/samples/{name}").raise_for_status().content
    return client.post(path, files={"file": (name, content)}, data=form, headers={"Accept": accept})


@pytest.mark.parametrize(("path", "name", "formats"), STORED)
def test_links_lead_to_what_the_other_formats_answer(
    client: httpx.Client, path: str, name: str, formats: list[str]
) -> None:
    answer = post(client, path, name, store=formats).raise_for_status().json()
    files = answer.pop("files")
    assert list(files) == [EXTENSIONS[one] for one in formats]
    plain = post(client, path, name).raise_for_status().json()
    assert plain.pop("files") == {}
    assert answer == plain
    for one in formats:
        linked = files[EXTENSIONS[one]]
        stored = client.get(linked["href"]).raise_for_status()
        assert (stored.headers["content-type"], len(stored.content)) == (linked["type"], linked["size"])
        direct = post(client, path, name, accept=MEDIA_TYPES[one]).raise_for_status()
        if one == "dicom":  # each has identifiers of its own
            assert stored.content[128:132] == direct.content[128:132] == b"DICM"
        else:
            assert stored.content == direct.content


def test_options_of_a_raw_body_store_too(client: httpx.Client) -> None:
    content = client.get("/docs/samples/low-dose.dcm").raise_for_status().content
    answer = client.post(f"{ENHANCEMENTS}?store=png&store=npy", content=content).raise_for_status()
    assert list(answer.json()["files"]) == ["png", "npy"]
    refused = client.post(f"{ENHANCEMENTS}?store=png&format=png", content=content)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/query/store")


@pytest.mark.parametrize(
    ("form", "accept", "says"),
    [
        ({"store": "png"}, "image/png", "Only a JSON answer can link"),
        ({"store": "svg"}, "application/json", "'png', 'npy' or 'dicom'"),
        ({"store": ["png"] * 4}, "application/json", "at most 3"),
    ],
)
def test_what_cannot_be_stored_is_refused(client: httpx.Client, form: Any, accept: str, says: str) -> None:
    answer = post(client, ENHANCEMENTS, "low-dose.dcm", accept=accept, **form)
    assert answer.status_code == 422
    problem = answer.json()["errors"][0]
    assert problem["pointer"].startswith("/body/store")
    assert says in problem["detail"]


def test_a_series_keeps_files_of_its_own(client: httpx.Client) -> None:
    answer = post(client, ENHANCEMENTS, "low-dose-series.zip", store="png")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/store")


def test_an_empty_field_stores_nothing(client: httpx.Client) -> None:
    assert post(client, ENHANCEMENTS, "low-dose.dcm", store="").raise_for_status().json()["files"] == {}
