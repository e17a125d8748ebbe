"""A client that openapi-python-client makes of the document, used against the fleet: what it sends is taken, what it
is answered it can read."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.fleet import Fleet
from tests.support.serving import PATIENCE_S

PACKAGE = "generated_facet_client"


@pytest.fixture(scope="module")
def generated(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of the package; it can be imported."""
    folder = tmp_path_factory.mktemp("client")
    document = folder / "openapi.json"
    document.write_bytes(httpx.get(f"{fleet.url}/openapi.json", timeout=60, trust_env=False).content)
    programs = str(Path(sys.executable).parent)  # its hook formats what it has written with ruff
    options = ["--path", str(document), "--meta", "none", "--output-path", str(folder / PACKAGE)]
    subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", *options],
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
    )
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


class Api:
    """The generated package: `models`, and what the functions of an operation are called.

    Args:
        fleet: to speak with.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.models: Any = importlib.import_module(f"{PACKAGE}.models")
        self._types: Any = importlib.import_module(f"{PACKAGE}.types")
        self._fleet = fleet
        client: Any = importlib.import_module(f"{PACKAGE}.client")
        self.client = client.Client(base_url=fleet.url, timeout=httpx.Timeout(60), httpx_args={"trust_env": False})

    def call(self, operation: str, *arguments: Any, **named: Any) -> Any:
        """What `sync_detailed` of an operation, such as `jobs.jobs_get`, has parsed; it must be no problem."""
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        parsed = module.sync_detailed(*arguments, client=self.client, **named).parsed
        assert parsed is not None
        assert not isinstance(parsed, self.models.ProblemDetails), parsed
        return parsed

    def sample(self, name: str) -> Any:
        """A file of the documentation."""
        content = httpx.get(f"{self._fleet.url}/docs/samples/{name}", timeout=60, trust_env=False).content
        return self._types.File(payload=io.BytesIO(content), file_name=name)


@pytest.fixture(scope="module")
def api(generated: Path, fleet: Fleet) -> Iterator[Api]:
    assert generated.is_dir()
    made = Api(fleet)
    with made.client:
        yield made


def test_every_operation_is_there(api: Api, generated: Path, fleet: Fleet) -> None:
    document = httpx.get(f"{fleet.url}/openapi.json", timeout=60, trust_env=False).json()
    operations = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    made = {file.stem for file in (generated / PACKAGE / "api").rglob("*.py")}
    assert {one.replace(".", "_").replace("-", "_") for one in operations} <= made


def test_it_classifies(api: Api) -> None:
    body = api.models.ClassificationForm(file=[api.sample("sign.png")], top=2)
    answer = api.call("classification.classifications_create", body=body)
    assert [one.top[0].name for one in answer.classifications] == ["stop"]


def test_it_calibrates_and_predicts_by_form(api: Api) -> None:
    body = api.models.CalibrationsCreateFilesBody(logits=api.sample("logits.npy"), labels=api.sample("labels.npy"))
    calibration = api.call("conformal.calibrations_create", body=body)
    body = api.models.CalibrationsPredictionsCreateFilesBody(logits=api.sample("logits.npy"))
    answer = api.call("conformal.calibrations_predictions_create", calibration.id, body=body)
    assert answer.to_dict()


def test_it_calibrates_intervals_by_json(api: Api) -> None:
    points = [0.1 * number for number in range(40)]
    body = {"kind": "regression", "predictions": points, "targets": [point + 0.01 for point in points]}
    calibration = api.call("conformal.calibrations_create", body=api.models.RegressionOptions.from_dict(body))
    assert calibration.kind == "regression"


def test_it_follows_a_job_and_fetches_its_file(api: Api) -> None:
    body = api.models.EnhancementForm(file=[api.sample("low-dose.dcm")])
    job = api.call("low_dose_ct.ct_enhancements_create", body=body, prefer="respond-async")
    deadline_s = time.monotonic() + PATIENCE_S
    while job.finished_at is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
        job = api.call("jobs.jobs_get", job.id)
    result = api.call("jobs.jobs_result_get", job.id).to_dict()
    name = next(iter(result["files"]))
    file = api.call("jobs.jobs_files_get", job.id, name)
    assert len(file.payload.read()) == result["files"][name]["size"]
