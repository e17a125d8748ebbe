"""Web pages of other origins in a real browser, against the whole fleet as `make run` starts it, without keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.fleet import Fleet
from tests.support.browsers import CHROMIUM, FLAGS, blank_page, needs_chromium
from tests.support.processes import until
from tests.support.reverse_proxy import reverse_proxy

pytestmark = needs_chromium

REBOUND = "rebind.evil.example"
UNLOAD = "/v2/repository/models/traffic-signs/unload"
ENHANCE = "/v1/medical/ct/enhancements"
RELEASED = "/v1/models/traffic-signs/versions/1.0.0"
INFER = "/v2/models/traffic-signs/infer"


@pytest.fixture
def page(fleet: Fleet) -> Iterator[Page]:
    """A blank page of another origin."""
    assert CHROMIUM is not None
    # The name of the attacker's page points at this machine, as a rebound one does.
    flags = [*FLAGS, f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]
    with sync_playwright() as playwright, blank_page(name="localhost") as origin:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page()
        page.goto(origin)
        yield page
        browser.close()


def state(client: httpx.Client) -> dict[str, Any]:
    """What a stranger must not change."""
    jobs = client.get("/v1/jobs", params={"limit": 100}).json()["jobs"]
    return {
        "jobs": [(job["id"], job["status"]) for job in jobs],
        "models": sorted((m["name"], m["version"], m["state"]) for m in client.post("/v2/repository/index").json()),
        "webhooks": client.get("/v1/webhooks").json(),
        "ready": client.get("/v2/models/traffic-signs/ready").status_code,
    }


def noted(client: httpx.Client, path: str) -> list[int]:
    """Statuses of requests for a path that the audit log has, the newest first."""
    entries = client.get("/v1/audit", params={"limit": 200}).json()["entries"]
    return [entry["status"] for entry in entries if entry["path"] == path]


FETCH_WITHOUT_PREFLIGHT = """async ([url, body]) => {
    const form = new FormData();
    form.append("file", new Blob(["a"]), "a.png");
    form.append("file", new Blob(["b"]), "b.png");
    const answer = await fetch(url, {method: "POST", mode: "no-cors", body: body ?? form});
    return answer.type;
}"""

FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return [answer.status, await answer.text()];
    } catch (error) {
        return [error.name];
    }
}"""

SUBMIT = """([url, sandboxed]) => {
    const fields = `<form method="post" enctype="multipart/form-data" action="${url}"></form>`;
    if (!sandboxed) {
        document.body.innerHTML = fields;
        document.forms[0].submit();
        return;
    }
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-forms allow-scripts";
    frame.srcdoc = fields + "<script>document.forms[0].submit()</script>";
    document.body.append(frame);
}"""

FOLLOW = """(url) => new Promise((resolve) => {
    const source = new EventSource(url);
    source.onmessage = source.onopen = () => { source.close(); resolve("read"); };
    source.onerror = () => { const state = source.readyState; source.close(); resolve(`error ${state}`); };
})"""


@pytest.mark.parametrize(("path", "body"), [(UNLOAD, ""), (ENHANCE, None), (INFER, '{"inputs": []}')])
def test_posts_that_need_no_preflight_are_refused(
    page: Page, client: httpx.Client, fleet: Fleet, path: str, body: str | None
) -> None:
    before, earlier = state(client), len(noted(client, path))
    assert page.evaluate(FETCH_WITHOUT_PREFLIGHT, [fleet.url + path, body]) == "opaque"
    until(lambda: len(noted(client, path)) > earlier)
    assert noted(client, path)[0] == 403
    assert state(client) == before


@pytest.mark.parametrize("sandboxed", [False, True])
def test_forms_are_refused(page: Page, client: httpx.Client, fleet: Fleet, sandboxed: bool) -> None:
    before, earlier = state(client), len(noted(client, UNLOAD))
    page.evaluate(SUBMIT, [fleet.url + UNLOAD, sandboxed])
    until(lambda: len(noted(client, UNLOAD)) > earlier)
    assert noted(client, UNLOAD)[0] == 403
    assert state(client) == before


def test_beacons_are_refused(page: Page, client: httpx.Client, fleet: Fleet) -> None:
    before, earlier = state(client), len(noted(client, UNLOAD))
    page.evaluate("(url) => navigator.sendBeacon(url, '')", fleet.url + UNLOAD)
    until(lambda: len(noted(client, UNLOAD)) > earlier)
    assert noted(client, UNLOAD)[0] == 403
    assert state(client) == before


def test_nothing_can_be_read_and_nothing_that_needs_a_preflight_is_sent(
    page: Page, client: httpx.Client, fleet: Fleet
) -> None:
    before, earlier = state(client), noted(client, RELEASED)
    assert page.evaluate(FETCH, [f"{fleet.url}/v1/jobs", {}]) == ["TypeError"]
    webhook = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    assert page.evaluate(FETCH, [f"{fleet.url}/v1/webhooks", webhook]) == ["TypeError"]
    assert page.evaluate(FETCH, [fleet.url + RELEASED, {"method": "DELETE"}]) == ["TypeError"]
    assert page.evaluate(FOLLOW, f"{fleet.url}/v1/jobs/none/events").startswith("error")
    assert noted(client, RELEASED) == earlier
    assert state(client) == before


def test_a_name_that_was_pointed_here_opens_nothing(page: Page, client: httpx.Client, fleet: Fleet) -> None:
    before = state(client)
    rebound = f"http://{REBOUND}:{urlsplit(fleet.url).port}"
    shown = page.goto(f"{rebound}/docs")
    assert shown is not None
    assert shown.status == 421
    # The refusal is a page of that origin: what follows is of the same origin as the gateway, as the browser sees it.
    for path, options in (("/v1/jobs", {}), (UNLOAD, {"method": "POST"}), (RELEASED, {"method": "DELETE"})):
        status, text = page.evaluate(FETCH, [rebound + path, options])
        assert (status, "FACET_ALLOWED_HOSTS" in text) == (421, True)
    assert page.evaluate(FOLLOW, f"{rebound}/v1/jobs/none/events") == "error 2"
    assert state(client) == before


def try_out(page: Page, address: str) -> str:
    """Open the documentation at an address and try an operation out; returns the status that the page shows."""
    page.goto(f"{address}/docs#/jobs/jobs.list")
    operation = page.locator(".opblock.is-open")  # the one that the address names
    operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table tbody .response-col_status").inner_text().strip()


def test_the_gateways_own_documentation_works(page: Page, fleet: Fleet) -> None:
    own = f"http://localhost:{urlsplit(fleet.url).port}"
    assert try_out(page, own) == "200"
    assert page.evaluate(FETCH, [f"{own}/v1/jobs/none", {"method": "DELETE"}])[0] == 404


def test_it_works_below_a_path_of_a_proxy_as_well(page: Page, fleet: Fleet) -> None:
    with reverse_proxy(fleet.url, prefix="/research/facet") as public:
        assert try_out(page, public) == "200"
