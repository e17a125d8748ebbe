"""/docs in a real browser: it renders, nothing is refused by its own content policy, an operation can be tried out."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from shared.settings import Settings
from tests.integration.gateway.servers import serve
from tests.support.browsers import CHROMIUM, FLAGS, needs_chromium

pytestmark = needs_chromium

WIDE = "1280,2000"


async def medical(scope: Scope, receive: Receive, send: Send) -> None:
    """A service with one operation."""
    if scope["type"] != "http":
        return
    document = {
        "openapi": "3.1.0",
        "info": {"title": "medical", "description": "Stands in for a service."},
        "paths": {
            "/v1/medical/things": {
                "get": {"operationId": "things", "summary": "List things", "tags": ["things"], "responses": {}}
            }
        },
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serve(medical) as service:
        settings = Settings(
            _env_file=None, redis_url="redis://127.0.0.1:1/0", blob_url=str(tmp_path / "blobs"), medical_url=service
        )
        with serve(create_app(settings)) as gateway:
            yield gateway


def browse(url: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, *FLAGS,
        f"--user-data-dir={profile}", f"--window-size={WIDE}", "--virtual-time-budget=30000", "--enable-logging=stderr",
        # The page must need no other host: every name but this machine's is unknown to the browser.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", *options, url,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)


def complaints(log: str) -> list[str]:
    """What the page itself wrote to the console."""
    bad = re.compile("error|refused|violat", re.IGNORECASE)
    return [line for line in log.splitlines() if "CONSOLE" in line and bad.search(line)]


def test_the_page_renders_without_complaint(url: str, tmp_path: Path) -> None:
    seen = browse(f"{url}/docs", tmp_path / "profile", "--dump-dom")
    assert complaints(seen.stderr) == []
    for words in ("List jobs", "List things", "Follow a job", "/v1/jobs/", "Apache License 2.0"):
        assert words in seen.stdout
    assert "Failed to load" not in seen.stdout


def test_an_operation_opens_ready_to_be_tried_out(url: str, tmp_path: Path) -> None:
    seen = browse(f"{url}/docs#/jobs/jobs.list", tmp_path / "profile", "--dump-dom")
    assert complaints(seen.stderr) == []
    assert "opblock-section" in seen.stdout
    assert "Execute" in seen.stdout
    assert "application/problem+json" in seen.stdout
