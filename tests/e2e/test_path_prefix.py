"""The whole fleet behind a reverse proxy that serves it below a path: whatever an answer names can be followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest

from services.perception.classification.own_model import own_models
from services.uncertainty.conformal.demo import demo_files
from shared.imaging.dicom_writing import new_ct
from tests.e2e.fleet import Fleet
from tests.support.reverse_proxy import reverse_proxy

PREFIX = "/research/facet"


@pytest.fixture(scope="module")
def public(fleet: Fleet) -> Iterator[str]:
    with reverse_proxy(fleet.url, prefix=PREFIX) as url:
        yield url


@pytest.fixture
def caller(public: str) -> Iterator[httpx.Client]:
    """Asks for paths as answers name them: from the root of the proxy's origin."""
    origin = public.removesuffix(PREFIX)
    with httpx.Client(base_url=origin, timeout=60, trust_env=False) as client:
        yield client


def slice_of_ct(number: int) -> bytes:
    hu = np.full((64, 64), number, np.float32)
    return new_ct(hu, spacing_mm=(1.0, 1.0), series_description="-", derivation="-")


def begin_series(caller: httpx.Client) -> httpx.Response:
    files = [("file", (f"{number}.dcm", slice_of_ct(number))) for number in range(2)]
    answer = caller.post(f"{PREFIX}/v1/medical/ct/enhancements", files=files)
    assert answer.status_code == 202, answer.text
    return answer


def paths_of(answer: httpx.Response) -> set[str]:
    """Every path that header fields name."""
    found = {answer.headers[name] for name in ("location", "content-location") if name in answer.headers}
    return found | set(re.findall(r"<([^>]+)>", answer.headers.get("link", "")))


def links_of(document: Any) -> set[str]:
    """Every path that the body names: members of `links`, and `href` wherever it is."""
    if isinstance(document, list):
        return set().union(*map(links_of, document))
    if not isinstance(document, dict):
        return set()
    own = {value for name, value in document.items() if name == "href"}
    own |= {value for value in (document.get("links") or {}).values() if isinstance(value, str)}
    return own.union(*map(links_of, document.values()))


def test_all_that_a_job_names_can_be_followed(caller: httpx.Client) -> None:
    answer = begin_series(caller)
    job = answer.headers["location"]
    assert job.startswith(f"{PREFIX}/v1/jobs/")
    assert paths_of(answer) | links_of(answer.json()) == {job, f"{job}/events"}
    done = caller.get(job, headers={"Prefer": "wait=30"}).json()
    assert done["status"] == "succeeded"
    assert set(done["links"].values()) - {None} == {job, f"{job}/events", f"{job}/result"}
    for path in links_of(done):
        assert caller.get(path).status_code == 200, path
    retry = caller.post(f"{job}/retry")
    assert (retry.status_code, retry.json()["instance"]) == (409, f"{job}/retry")
    link = caller.post(f"{job}/events/links").json()["href"]
    assert link.startswith(f"{job}/events?link=")
    assert caller.get(link).text.rstrip().endswith("}")


def test_pages_of_lists_lead_to_each_other(caller: httpx.Client) -> None:
    begin_series(caller), begin_series(caller)
    page = caller.get(f"{PREFIX}/v1/jobs", params={"limit": 1})
    (following,) = paths_of(page)
    assert following.startswith(f"{PREFIX}/v1/jobs?")
    assert len(caller.get(following).json()["jobs"]) == 1


def test_what_services_and_workers_make_can_be_followed(caller: httpx.Client) -> None:
    calibrations = f"{PREFIX}/v1/uncertainty/calibrations"
    demo = demo_files()
    made = caller.post(calibrations, files={"logits": demo["logits.npy"], "labels": demo["labels.npy"]})
    assert made.status_code == 201, made.text
    (location,) = paths_of(made)
    assert caller.get(location).json()["id"] == made.json()["id"]
    form = {"model": "traffic-signs", "alpha": "0.2"}
    job = caller.post(calibrations, files={"file": demo["signs.zip"]}, data=form, headers={"Prefer": "wait=60"})
    assert job.json()["status"] == "succeeded", job.text
    href = job.json()["result"]["calibration"]["href"]
    result = caller.get(job.json()["links"]["result"]).json()
    assert result["calibration"]["href"] == href
    assert caller.get(href).status_code == 200
    for path in (href, location):
        assert caller.delete(path).status_code == 204


def test_webhooks_and_models_name_paths_below_it(caller: httpx.Client) -> None:
    wanted = {"url": "https://receiver.example/facet", "events": ["job.failed"]}
    made = caller.post(f"{PREFIX}/v1/webhooks", json=wanted)
    if made.status_code == 201:  # the guard asks for the receiver's address, which not every machine can
        (location,) = paths_of(made)
        assert caller.get(location).json()["links"]["self"] == made.json()["links"]["self"] == location
        assert caller.delete(location).status_code == 204
    else:
        assert made.json()["instance"] == f"{PREFIX}/v1/webhooks"
    models = own_models()
    draft = {"name": "below", "version": "1.0.0", "task": "softmax", "licence": "MIT"}
    file = {"file": models["colours.onnx"]}
    card = caller.post(f"{PREFIX}/v1/models/cards", files=file, data=draft)
    assert card.status_code == 200, card.text
    uploaded = caller.post(f"{PREFIX}/v1/models", files={"card": card.content, **file})
    assert uploaded.status_code == 201, uploaded.text
    (location,) = paths_of(uploaded)
    assert location == f"{PREFIX}/v1/models/below/versions/1.0.0"
    assert caller.delete(location).status_code < 300


def test_the_documentation_is_below_it_too(caller: httpx.Client, public: str) -> None:
    index = caller.get(f"{PREFIX}/")
    paths = {value for value in index.json().values() if value.startswith("/")} | paths_of(index)
    assert all(path.startswith(f"{PREFIX}/") for path in paths)
    assert {caller.get(path).status_code for path in paths} == {200}
    page = caller.get(caller.get(f"{PREFIX}/", headers={"Accept": "text/html"}).headers["location"])
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert caller.get(urljoin(str(page.url), asset)).status_code == 200, asset
    assert 'url: "openapi.json"' in caller.get(f"{PREFIX}/docs/static/docs.js").text
    document = caller.get(f"{PREFIX}/openapi.json").json()
    (server,) = document["servers"]
    assert urljoin(f"{public}/openapi.json", server["url"]) == public


def test_nothing_of_it_leaks_to_callers_who_come_directly(client: httpx.Client) -> None:
    assert client.get("/").json()["jobs"] == "/v1/jobs"
    assert client.get("/openapi.json").json()["servers"][0]["url"] == "/"
