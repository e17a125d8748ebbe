"""The operator's command line against a real Redis: what it prints, what it changes, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from deploy.local.redis_server import local_redis
from deploy.operator.__main__ import main
from deploy.operator.connection import local_redis_url
from deploy.operator.output import NOT_FOUND, REFUSED, UNAVAILABLE
from shared.jobs.attempts import Attempt, Attempts
from shared.jobs.connection import worker_client
from shared.jobs.identifiers import new_job_id
from shared.jobs.scripts import source
from shared.problems import UnprocessableContent
from shared.settings import Settings, get_settings
from tests.integration.conftest import free_port

QUEUE = "medical.onnx"

Facet = Callable[..., Result]


@pytest.fixture
def facet(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Facet]:
    """Runs the command line on an empty database, with no gateway to be found."""
    monkeypatch.setenv("FACET_REDIS_URL", redis_url)
    monkeypatch.setenv("FACET_BLOB_URL", str(tmp_path))
    monkeypatch.setenv("FACET_GATEWAY_PORT", str(free_port()))
    get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])
    get_settings.cache_clear()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with worker_client(redis_url) as client:
        client.zadd(f"facet:queue:{QUEUE}:workers", {"by hand": 1e15})
        yield client


@pytest.fixture
def attempts(client: redis.Redis, redis_url: str) -> Attempts:
    return Attempts(client, Settings(_env_file=None, redis_url=redis_url), "by hand")


def make(attempts: Attempts, *, owner: str = "ada") -> str:
    job_id = new_job_id()
    fields: list[str | int] = [
        "title",
        "A test",
        "time_limit_s",
        60,
        "cancel_bound_s",
        1,
        "step_unit",
        "slice",
        "arguments",
        "{}",
    ]
    create = attempts._scripts["claim"].registered_client.register_script(source("create"))
    admission: list[str | int] = [8000, 3_600_000, "", 1000, "", "medical.test", 100]
    outcome = create(args=[job_id, QUEUE, owner, *admission, *fields])
    assert outcome == ["created", job_id]
    return job_id


def start(attempts: Attempts) -> Attempt:
    attempt = attempts.claim(make(attempts))
    assert isinstance(attempt, Attempt)
    return attempt


def test_list_filters_and_limits(facet: Facet, attempts: Attempts) -> None:
    mine, others = make(attempts), make(attempts, owner="bob")
    running = start(attempts).record.id
    table = facet("jobs", "list").output.splitlines()
    assert table[0].split()[:4] == ["ID", "KIND", "OWNER", "STATUS"]
    assert [line.split()[0] for line in table[1:]] == [running, others, mine]
    assert facet("jobs", "list", "-q", "--status", "running").output.split() == [running]
    assert facet("jobs", "list", "-q", "--owner", "bob").output.split() == [others]
    assert facet("jobs", "list", "-q", "--limit", 1).output.split() == [running]
    assert facet("jobs", "list", "--kind", "none").exit_code == 0
    listed = json.loads(facet("jobs", "list", "--json").output)
    assert [job["owner"] for job in listed] == ["ada", "bob", "ada"]


def test_show(facet: Facet, attempts: Attempts) -> None:
    attempt = start(attempts)
    shown = json.loads(facet("jobs", "show", attempt.record.id, "--json").output)
    assert (shown["id"], shown["worker"], shown["attempt"]) == (attempt.record.id, "by hand", 1)
    assert "medical.test" in facet("jobs", "show", attempt.record.id).output
    unknown = facet("jobs", "show", new_job_id())
    assert (unknown.exit_code, unknown.stderr) == (NOT_FOUND, "Error: There is no job with this id.\n")


def test_cancel_goes_on_behind_one_that_cannot_be(facet: Facet, attempts: Attempts) -> None:
    first, missing, running = make(attempts), new_job_id(), start(attempts)
    result = facet("jobs", "cancel", first, missing, running.record.id, "--json")
    assert result.exit_code == NOT_FOUND
    assert missing in result.stderr
    assert [job["status"] for job in json.loads(result.stdout)] == ["cancelled", "running"]
    assert running.note(), "it is told to stop"
    assert facet("jobs", "cancel", first).exit_code == REFUSED


def test_retry(facet: Facet, attempts: Attempts, client: redis.Redis) -> None:
    attempt = start(attempts)
    assert facet("jobs", "retry", attempt.record.id).exit_code == REFUSED
    attempt.fail(UnprocessableContent("no"))
    assert facet("jobs", "retry", attempt.record.id).exit_code == 0
    assert json.loads(facet("jobs", "show", attempt.record.id, "--json").output)["status"] == "queued"
    assert client.llen(f"facet:celery:{QUEUE}") == 1, "the workers were told"


def test_a_retry_without_workers_says_so(facet: Facet, attempts: Attempts, client: redis.Redis) -> None:
    attempt = start(attempts)
    attempt.fail(UnprocessableContent("no"))
    client.delete(f"facet:queue:{QUEUE}:workers")
    result = facet("jobs", "retry", attempt.record.id)
    assert result.exit_code == UNAVAILABLE
    assert "No worker reads the queue" in result.stderr


def test_dead_letters(facet: Facet, attempts: Attempts, client: redis.Redis) -> None:
    assert facet("jobs", "dead-letters", "-q").output == ""
    attempt = start(attempts)
    attempt.fail(UnprocessableContent("no"))
    client.zadd("facet:dead", {attempt.record.id: 1})
    client.hset(f"facet:job:{attempt.record.id}", "dead", "lost workers")
    assert facet("jobs", "dead-letters", "-q").output.split() == [attempt.record.id]
    assert "lost workers" in facet("jobs", "dead-letters").output


def test_status(facet: Facet, attempts: Attempts, client: redis.Redis) -> None:
    make(attempts)
    running = start(attempts).record.id
    result = facet("status", "--json")
    state = json.loads(result.stdout)
    assert result.exit_code == 1
    assert state["checks"]["gateway"].startswith("does not answer at http://127.0.0.1:")
    [queue] = state["queues"]
    assert (queue["name"], queue["waiting"], queue["workers"], queue["pace_s"]) == (QUEUE, 1, 1, None)
    assert [(job["id"], job["worker"]) for job in state["running"]] == [(running, "by hand")]
    assert state["redis"]["memory_bytes"] > 0
    table = facet("status").output
    assert running in table
    assert "WITHOUT an append-only file" in table


@pytest.mark.parametrize("command", [["jobs", "list"], ["status"], ["jobs", "retry", new_job_id()]])
def test_without_redis_there_is_one_line_and_no_traceback(command: list[str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "deploy.operator", *command],
        env={"FACET_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "FACET_GATEWAY_PORT": str(free_port())},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == UNAVAILABLE
    assert len(result.stderr.splitlines()) == 1
    assert "The job store does not answer" in result.stderr


def test_the_redis_of_the_local_fleet_is_found(tmp_path: Path) -> None:
    assert local_redis_url(tmp_path) is None
    _, url = local_redis(tmp_path / "redis", free_port())
    assert local_redis_url(tmp_path) == url
