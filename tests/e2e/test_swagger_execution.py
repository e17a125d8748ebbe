"""Every POST route is executed in Swagger UI by a real browser: as its page fills it in, or with one of its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from services.declarations import declared_capabilities
from shared.capabilities.declaration import Sample
from shared.capabilities.references import load_reference
from tests.e2e.fleet import Fleet
from tests.support.browsers import CHROMIUM, FLAGS, needs_chromium

pytestmark = needs_chromium

SAMPLES = [sample for one in declared_capabilities() for sample in one.samples]
PATIENCE_MS = 20_000
CARD = '{"name": "my-model", "version": "1.0.0"}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, fleet: Fleet) -> Page:
    """The documentation, opened once."""
    page = browser.new_page(viewport={"width": 1280, "height": 2000})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{fleet.url}/docs")
    page.locator(".opblock").first.wait_for()
    return page


@pytest.fixture(scope="module")
def made(fleet: Fleet) -> Callable[[str], str]:
    """Makes, once, what a path parameter stands for: what the first sample of the path before it makes."""
    known: dict[str, str] = {}

    def make(path: str) -> str:
        before = path.partition("/{")[0]
        if before not in known:
            sample = next(one for one in SAMPLES if one.path == before)
            files = {name: (file.name, load_reference(file.make)()) for name, file in sample.files.items()}
            body: dict[str, Any] = (
                {"files": files, "data": sample.form} if sample.json is None else {"json": dict(sample.json)}
            )
            answer = httpx.post(fleet.url + before, **body, timeout=60, trust_env=False)
            known[before] = answer.headers["location"].rpartition("/")[2]
        return known[before]

    return make


def opened(page: Page, path: str) -> Locator:
    """The block of the POST operation of a path, unfolded; all others are folded."""
    for other in page.locator(".opblock.is-open .opblock-control-arrow").all():
        other.click()
    block = page.locator(f".opblock.opblock-post:has(.opblock-summary-path[data-path='{path}'])")
    block.locator(".opblock-control-arrow").click()
    block.get_by_role("button", name="Execute").wait_for()
    return block


def fill_in_parameter(block: Locator, value: str) -> None:
    """Type what the parameter of the path stands for."""
    block.locator("tr[data-param-in=path] input").fill(value)


def execute(block: Locator) -> tuple[str, Locator]:
    """Press Execute; returns the status that the page shows, and the row that shows it."""
    if (clear := block.locator("button.btn-clear")).count():
        clear.click()  # an earlier answer stays until the next one comes, and would be taken for it
    block.get_by_role("button", name="Execute").click()
    row = block.locator(".live-responses-table tbody tr.response").first
    row.wait_for()
    return row.locator(".response-col_status").inner_text().split()[0], row


INFER = "/v2/models/{name}/infer"
NEEDS_NOTHING = sorted(
    {one.path for one in SAMPLES if not one.files}
    | {"/v2/repository/index", INFER, INFER.replace("infer", "versions/{version}/infer")}
)


@pytest.mark.parametrize("path", NEEDS_NOTHING)
def test_what_needs_no_file_works_as_it_is_filled_in(path: str, page: Page, made: Callable[[str], str]) -> None:
    """First of all on this page, so that no sample has filled in anything."""
    block = opened(page, path)
    if "_id}" in path:
        fill_in_parameter(block, made(path))
    status, row = execute(block)
    assert status in {"200", "201"}, row.inner_text()[:2000]


@pytest.mark.parametrize("sample", SAMPLES, ids=[f"{one.path}: {one.title}" for one in SAMPLES])
def test_a_sample_is_filled_in_by_a_click_and_answered(sample: Sample, page: Page, made: Callable[[str], str]) -> None:
    block = opened(page, sample.path)
    if "{" in sample.path:
        fill_in_parameter(block, made(sample.path))
    block.locator(".samples").get_by_role("button", name=sample.title, exact=True).click()
    expect(block.locator(".samples [role=status]")).to_contain_text("press Execute")
    status, row = execute(block)
    assert status in {"200", "201", "202"}, row.inner_text()[:2000]


def test_a_picture_that_is_answered_is_shown(page: Page) -> None:
    block = opened(page, "/v1/medical/ct/simulations")
    block.locator(".samples").get_by_role("button", name="Scan a drawn chest").click()
    expect(block.locator(".samples [role=status]")).to_contain_text("press Execute")
    block.locator(".responses-inner select.content-type").first.select_option("image/png")
    status, row = execute(block)
    assert status == "200"
    picture = row.locator("img")
    picture.wait_for()
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 100


def test_lists_are_sent_one_by_one_and_empty_fields_are_left_out(page: Page) -> None:
    block = opened(page, "/v1/uncertainty/explanations")
    block.locator(".samples").get_by_role("button").first.click()
    expect(block.locator(".samples [role=status]")).to_contain_text("press Execute")
    methods = block.locator("[data-property-name=method] select")
    methods.select_option(["srd", "grad-cam"])
    status, row = execute(block)
    assert status == "200", row.inner_text()[:2000]
    sent = block.locator(".curl-command").inner_text()
    assert "method=srd" in sent
    assert "method=grad-cam" in sent
