"""What every POST route of every capability promises, tried with the samples of its declaration through the gateway.

A new capability is tried by these tests as soon as it is declared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator

from gateway.edge.formats import MEDIA_TYPES
from shared.capabilities.declaration import Sample
from tests.contract.documents import operations, resolved
from tests.contract.fleet import Fleet, Route, routes, running_fleet

POSTED = routes("POST")
READ = routes("GET")
SAMPLES = [(route, sample) for route in POSTED for sample in route.samples]
FORMS = [(route, sample) for route, sample in SAMPLES if sample.files]

NOTICE = "not a medical device"
OCTETS = "application/octet-stream"

each = pytest.mark.parametrize("route", POSTED, ids=str)
each_read = pytest.mark.parametrize("route", READ, ids=str)
each_sample = pytest.mark.parametrize(("route", "sample"), SAMPLES, ids=[f"{one}: {it.title}" for one, it in SAMPLES])
each_form = pytest.mark.parametrize(("route", "sample"), FORMS, ids=[f"{one}: {it.title}" for one, it in FORMS])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


def require_problem(answer: httpx.Response, status: int, pointer: str | None = None) -> None:
    """Check that an answer is a problem that blames a field, or one below it."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    blamed = [error["pointer"] for error in answer.json().get("errors", [])]
    assert pointer is None or any(f"{one}/".startswith(f"{pointer}/") for one in blamed), answer.text


def documented_types(fleet: Fleet, route: Route, method: str = "post") -> dict[int, list[str]]:
    """Media types of the documented answers of success, by status."""
    responses = fleet.operation(route, method)["responses"]
    return {int(status): [*one.get("content", {})] for status, one in responses.items() if status.startswith("2")}


def require_documented(fleet: Fleet, route: Route, answer: httpx.Response) -> None:
    """Check that the document describes an answer of success: its status, its type, its content where it is JSON."""
    types = documented_types(fleet, route)
    assert answer.status_code in types, answer.text
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in types[answer.status_code]
    if media_type == "application/json":
        content = fleet.operation(route)["responses"][str(answer.status_code)]["content"]
        schema = {**content[media_type]["schema"], "components": fleet.document["components"]}
        assert [error.message for error in Draft202012Validator(schema).iter_errors(answer.json())] == []


@each
def test_there_is_something_to_try_it_with(route: Route) -> None:
    assert route.samples, "declare a Sample of this path in capability.py"


@each_sample
def test_a_sample_works_and_is_answered_as_documented(fleet: Fleet, route: Route, sample: Sample) -> None:
    answer = fleet.first_answer(route) if sample is route.samples[0] else fleet.send(route, sample)
    require_documented(fleet, route, answer)
    if answer.status_code == 202:
        job = fleet.finished(answer)
        assert job["status"] == "succeeded", job
        assert job["result"]
        assert job["progress"]["step"] == job["progress"]["total"], job["progress"]
        require_files(fleet, job)


def require_files(fleet: Fleet, job: dict[str, Any]) -> None:
    """Check that what the result says of its files is what is found where it says."""
    for name, file in job["result"].get("files", {}).items():
        assert file["href"] == f"/v1/jobs/{job['id']}/files/{name}"
        found = fleet.client.get(file["href"])
        assert (found.status_code, found.headers["content-type"]) == (200, file["type"])
        assert (len(found.content), hashlib.sha256(found.content).hexdigest()) == (file["size"], file["sha256"])


@each_form
def test_a_sample_is_taken_as_the_body_where_one_may_be(fleet: Fleet, route: Route, sample: Sample) -> None:
    if OCTETS not in fleet.operation(route)["requestBody"]["content"]:
        pytest.skip("takes forms only")
    answer = fleet.send_as_body(route, sample)
    require_documented(fleet, route, answer)


@each
def test_every_documented_type_is_answered_where_it_is_asked_for(fleet: Fleet, route: Route) -> None:
    types = [one for one in documented_types(fleet, route).get(200, []) if one != "application/json"]
    described = fleet.first_answer(route)
    described_model = described.json().get("model") if described.headers["content-type"] == "application/json" else None
    for media_type in types:
        answer = fleet.send(route, route.samples[0], headers={"Accept": media_type})
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type), answer.text
        require_reference(answer, described_model)
        if route.capability.domain == "medical":
            assert NOTICE in answer.headers["facet-notice"]
    if route.capability.domain == "medical":
        assert NOTICE in described.text


@each
def test_a_format_in_the_query_stands_for_the_header(fleet: Fleet, route: Route) -> None:
    formats = [item for item in fleet.operation(route)["parameters"] if item["name"] == "format"]
    if not formats:
        offered = {kind for types in documented_types(fleet, route).values() for kind in types}
        assert len(offered & set(MEDIA_TYPES.values())) < 2
        return
    name = formats[0]["schema"]["enum"][-1]
    answer = fleet.send(route, route.samples[0], params={"format": name}, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPES[name]), answer.text
    require_problem(fleet.send(route, route.samples[0], params={"format": "gif"}), 422, "/query/format")


def require_reference(answer: httpx.Response, model: dict[str, Any] | None) -> None:
    """Check that the header of a file names the model that JSON names, if there is one."""
    if model is None or not model.get("weights_sha256"):
        assert "facet-model" not in answer.headers
        return
    expected = f'{model["name"]};version="{model["version"]}";sha256="{model["weights_sha256"]}"'
    assert answer.headers["facet-model"] == expected


@each
def test_a_type_that_it_cannot_answer_is_refused(fleet: Fleet, route: Route) -> None:
    require_problem(fleet.send(route, route.samples[0], headers={"Accept": "application/x-nothing"}), 406)


@each
def test_a_body_of_another_type_is_refused(fleet: Fleet, route: Route) -> None:
    for headers in ({"Content-Type": "text/html"}, {"Content-Type": "application/x-nothing; charset=utf-8"}):
        answer = fleet.client.post(fleet.target(route), content=b"<p>?</p>", headers=headers)
        require_problem(answer, 415)


@each_form
def test_an_empty_file_is_refused(fleet: Fleet, route: Route, sample: Sample) -> None:
    for name in sample.files:
        require_problem(fleet.send(route, sample, changed={name: b""}), 422, f"/body/{name}")


@each
def test_a_body_that_is_too_large_is_refused_before_it_is_read(fleet: Fleet, route: Route) -> None:
    target = fleet.target(route)
    assert fleet.announce(target, length=fleet.limits(target) + 1) == (413, "application/problem+json")


@each_sample
def test_an_unknown_field_is_refused_and_known_ones_are_named(fleet: Fleet, route: Route, sample: Sample) -> None:
    answer = fleet.send(route, sample, changed={"surprise": "1"})
    require_problem(answer, 422, "/body/surprise")
    sent = next(iter({**(sample.json or sample.form), **sample.files}))
    assert sent in answer.json()["detail"]


def test_a_json_body_of_very_many_unknown_fields_is_refused_in_few_words(fleet: Fleet) -> None:
    """Routes of the gateway itself among them. To list what is wrong with each field would hold up everybody else."""
    body = orjson.dumps({f"surprise-{number}": 1 for number in range(100_000)})
    posted, tried = {route.path: route for route in POSTED}, 0
    model = fleet.client.get("/v1/models").json()["models"][0]
    for path, method, operation in operations(fleet.document):
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            target = (
                fleet.target(posted[path])
                if path in posted
                else re.sub(r"{(\w+)}", lambda name: model.get(name[1], "x"), path)
            )
            answer = fleet.client.request(method, target, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {413, 422}, (path, answer.text[:300])
            assert str(answer.status_code) in operation["responses"], f"{path} does not document {answer.status_code}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 100_000, path
            tried += 1
    assert tried > 15


@each
def test_an_unknown_parameter_of_the_query_is_refused(fleet: Fleet, route: Route) -> None:
    require_problem(fleet.send(route, route.samples[0], params={"surprise": "1"}), 422, "/query/surprise")


def examples(fleet: Fleet, route: Route, sample: Sample) -> Iterator[tuple[str, Any]]:
    """Documented examples of the fields of a sample's body."""
    media_type = "application/json" if sample.json is not None else "multipart/form-data"
    schema = resolved(fleet.document, fleet.operation(route)["requestBody"]["content"][media_type]["schema"])
    for name, one in schema["properties"].items():
        yield from ((name, example) for example in resolved(fleet.document, one).get("examples", ()))


@each
def test_documented_examples_are_accepted(fleet: Fleet, route: Route) -> None:
    """Each beside a sample, or alone: some stand in place of what a sample holds."""
    for name, example in examples(fleet, route, route.samples[0]):
        alone = Sample(title="-", path=route.path, form={name: str(example)})
        answers = (fleet.send(route, sample, changed={name: example}) for sample in (*route.samples, alone))
        assert any(answer.is_success for answer in answers), f"{name}={example} is accepted nowhere"


@each
def test_a_repeated_request_with_its_key_gets_the_first_answer(fleet: Fleet, route: Route) -> None:
    sample, key = route.samples[0], {"Idempotency-Key": re.sub(r"\W", "-", f"every-route{route.path}")}
    first, again = (fleet.send(route, sample, headers=key) for _ in range(2))
    assert first.is_success, first.text
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("location", "content-type", "etag"):
        assert again.headers.get(name) == first.headers.get(name), name
    other = fleet.send(route, sample, headers=key, changed={"surprise": "1"})
    require_problem(other, 422)
    assert "surprise" not in other.text, "the key decides, not the field"


@each_read
def test_head_is_answered_as_get_without_the_body(fleet: Fleet, route: Route) -> None:
    target = fleet.target(route)
    read, probed = fleet.client.get(target), fleet.client.head(target)
    assert read.status_code == 200, read.text
    assert (probed.status_code, probed.content) == (200, b"")
    for name in ("content-type", "etag", "cache-control"):
        assert probed.headers.get(name) == read.headers.get(name), name
    if read.headers["content-type"] == "application/json":
        assert json.loads(read.content) is not None
    else:
        assert read.headers["content-type"] in documented_types(fleet, route, "get")[200]
