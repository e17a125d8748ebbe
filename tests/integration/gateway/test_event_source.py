"""A browser's EventSource on a page of an allowed origin follows a job of a gateway that asks for keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright
from pydantic import SecretStr

from shared.access.keys import KeyStore
from shared.settings import Settings
from tests.integration.gateway.conftest import Bench
from tests.integration.gateway.keys import bearer
from tests.support.browsers import CHROMIUM, FLAGS, blank_page, needs_chromium

pytestmark = needs_chromium

MAKE_LINK = """async ([events, authorization]) => {
    const answer = await fetch(events + "/links", {method: "POST", headers: {Authorization: authorization}});
    return (await answer.json()).href;
}"""

FOLLOW = """(url) => new Promise((resolve) => {
    const source = new EventSource(url), seen = [];
    for (const type of ["status", "progress", "done"]) source.addEventListener(type, (event) => {
        seen.push(type);
        if (type === "done") { source.close(); resolve(seen); }
    });
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) resolve("refused"); };
})"""


@pytest.fixture
def console() -> Iterator[str]:
    """The origin of a page that the operator allows."""
    with blank_page() as origin:
        yield origin


@pytest.fixture
def settings(redis_url: str, tmp_path: Path, console: str) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(tmp_path / "blobs"),
        api_keys=True,
        fleet_token=SecretStr("between us"),
        cors_origins=(console,),
    )


@pytest.fixture
async def page(console: str) -> AsyncIterator[Page]:
    assert CHROMIUM is not None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = await browser.new_page()
        await page.goto(console)
        yield page
        await browser.close()


async def test_a_signed_link_is_followed_to_the_end(gateway_url: str, keys: KeyStore, bench: Bench, page: Page) -> None:
    key = await bearer(keys, "jobs:read", owner="anonymous")
    attempt = await bench.start()
    attempt.note(event="progress", data={"step": 1})
    events = f"{gateway_url}/v1/jobs/{attempt.record.id}/events"
    href = await page.evaluate(MAKE_LINK, [events, key["Authorization"]])
    attempt.succeed({})
    assert await page.evaluate(FOLLOW, gateway_url + href) == ["status", "status", "progress", "status", "done"]
    assert await page.evaluate(FOLLOW, events) == "refused"
    assert await page.evaluate(FOLLOW, gateway_url + href[:-2]) == "refused"


async def test_a_page_of_another_origin_cannot_read_what_a_link_opens(
    gateway_url: str, keys: KeyStore, bench: Bench, page: Page
) -> None:
    key = await bearer(keys, "jobs:read", owner="anonymous")
    attempt = await bench.start()
    events = f"{gateway_url}/v1/jobs/{attempt.record.id}/events"
    href = await page.evaluate(MAKE_LINK, [events, key["Authorization"]])
    attempt.succeed({})
    with blank_page(name="localhost") as other:
        await page.goto(other)
        assert await page.evaluate(FOLLOW, gateway_url + href) == "refused"
