"""A client that OpenAPI Generator makes of the document, used against the fleet. It is a Java program of 40 MB, so this
runs by `make test-openapi-generator` alone, which installs it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.fleet import Fleet
from tests.support.serving import PATIENCE_S

GENERATOR = os.environ.get("FACET_OPENAPI_GENERATOR", "")
PACKAGE = "facet_by_openapi_generator"

# Where a route takes JSON as well, the client sends that unless told.
FORM = {"_content_type": "multipart/form-data"}

pytestmark = pytest.mark.skipif(not GENERATOR, reason="FACET_OPENAPI_GENERATOR names no openapi-generator-cli")


@pytest.fixture(scope="module")
def package(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_bytes(httpx.get(f"{fleet.url}/openapi.json", timeout=60, trust_env=False).content)
    subprocess.run(
        [GENERATOR, "generate", "-i", "openapi.json", "-g", "python", "-o", "made", "--package-name", PACKAGE],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    sys.path.insert(0, str(folder / "made"))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(folder / "made"))


@pytest.fixture(scope="module")
def client(package: Any, fleet: Fleet) -> Iterator[Any]:
    with package.ApiClient(package.Configuration(host=fleet.url)) as made:
        yield made


def sample(fleet: Fleet, name: str) -> tuple[str, bytes]:
    return name, httpx.get(f"{fleet.url}/docs/samples/{name}", timeout=60, trust_env=False).content


def test_it_classifies(package: Any, client: Any, fleet: Fleet) -> None:
    answer = package.ClassificationApi(client).classifications_create(file=[sample(fleet, "sign.png")])
    assert [one.top[0].name for one in answer.classifications] == ["stop"]


def test_it_calibrates_and_predicts(package: Any, client: Any, fleet: Fleet) -> None:
    conformal = package.ConformalApi(client)
    logits, labels = sample(fleet, "logits.npy"), sample(fleet, "labels.npy")
    calibration = conformal.calibrations_create(logits=logits, labels=labels, **FORM)
    assert conformal.calibrations_predictions_create(calibration.actual_instance.id, logits=logits, **FORM).to_dict()


def test_it_fetches_a_picture_of_a_stored_answer(package: Any, client: Any, fleet: Fleet) -> None:
    body = [sample(fleet, "low-dose.dcm")]
    answer = package.LowDoseCTApi(client).ct_enhancements_create(file=body, store2=["png"])
    linked = answer.to_dict()["files"]["png"]
    _, _, _, identifier, name = linked["href"].split("/")
    assert package.JobsApi(client).files_get(identifier, name)[:4] == b"\x89PNG"


def test_it_follows_a_job_and_fetches_its_file(package: Any, client: Any, fleet: Fleet) -> None:
    jobs = package.JobsApi(client)
    answer = package.LowDoseCTApi(client).ct_enhancements_create(
        file=[sample(fleet, "low-dose.dcm")], prefer="respond-async"
    )
    job = jobs.jobs_get(answer.to_dict()["id"])
    deadline_s = time.monotonic() + PATIENCE_S
    while job.finished_at is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
        job = jobs.jobs_get(job.id)
    files = jobs.jobs_result_get(job.id)["files"]
    name = next(iter(files))
    assert len(jobs.jobs_files_get(job.id, name)) == files[name]["size"]
