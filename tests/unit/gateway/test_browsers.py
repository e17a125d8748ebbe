from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.types import Scope

from gateway.edge.browsers import BrowserPolicy, parse_authority
from shared.problems import BadRequest, Forbidden, MisdirectedRequest
from shared.settings import Settings

Fields = Sequence[tuple[str, str]]


def policy(**values: Any) -> BrowserPolicy:
    return BrowserPolicy(Settings(_env_file=None, **values))


def scope_of(*fields: tuple[str, str], method: str = "GET", version: str = "1.1") -> Scope:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    return {"type": "http", "method": method, "http_version": version, "path": "/", "headers": headers}


def posted(host: str, **fields: str) -> Scope:
    others = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return scope_of(("Host", host), *others, method="POST")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:8000", "localhost.", "facet.localhost:1", "[::1]",
        "[::1]:8000", "192.0.2.7:80", "[2001:db8::7]", "localhost:",
    ],
)  # fmt: skip
def test_loopback_and_addresses_are_answered(host: str) -> None:
    policy().check(scope_of(("Host", host)))
    policy().check(posted(host))


@pytest.mark.parametrize(
    "host",
    ["rebind.evil.example:8000", "evil.example", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_other_names_are_misdirected_whatever_is_asked(host: str, method: str) -> None:
    fields = [("Host", host), ("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin")]
    with pytest.raises(MisdirectedRequest, match="FACET_ALLOWED_HOSTS"):
        policy().check(scope_of(*fields, method=method))


def test_names_of_the_operator_are_answered() -> None:
    named = policy(allowed_hosts="Facet.internal, *.example.org", public_url="https://facet.example:8443/way")
    for host in ("facet.internal:80", "a.example.org", "a.b.example.org", "facet.example", "FACET.example:8443"):
        named.check(scope_of(("Host", host)))
    for host in ("example.org", "badexample.org", "x.facet.internal", "facet.example.evil"):
        with pytest.raises(MisdirectedRequest):
            named.check(scope_of(("Host", host)))


@pytest.mark.parametrize(
    "fields",
    [
        [], [("Host", "localhost"), ("Host", "localhost")], [("Host", "")], [("Host", "local host")],
        [("Host", "localhost:port")], [("Host", "localhost:65536")], [("Host", "user@localhost")],
        [("Host", "localhost/path")], [("Host", "localhost, localhost")], [("Host", "[::1")], [("Host", "[127.0.0.1]")],
        [("Host", "::1")], [("Host", "[:::]")], [("Host", ".")], [("Host", "lo\xe9alhost")], [("Host", "http://localhost")],
    ],
)  # fmt: skip
@pytest.mark.parametrize("keys", [False, True])
def test_a_host_that_is_not_there_once_and_well_formed_is_400(fields: Fields, keys: bool) -> None:
    with pytest.raises(BadRequest, match="Host"):
        policy(api_keys=keys).check(scope_of(*fields))


def test_http_1_0_needs_no_host_but_a_good_one() -> None:
    policy().check(scope_of(version="1.0"))
    with pytest.raises(MisdirectedRequest):
        policy().check(scope_of(("Host", "evil.example"), version="1.0"))
    with pytest.raises(Forbidden):
        policy().check(scope_of(("Origin", "http://evil.example"), version="1.0", method="POST"))


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:8001"},
        {"Origin": "http://localhost"}, {"Origin": "https://localhost:8000.evil.example"}, {"Origin": "file://"},
        {"Origin": "http://127.0.0.1:8000"}, {"Origin": ""}, {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"}, {"Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://localhost:8000", "Sec_Fetch_Site": "cross-site"}, {"Origin": "chrome-extension://abc"},
    ],
)  # fmt: skip
def test_pages_of_other_origins_change_nothing(fields: dict[str, str]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "QUERY"):
        with pytest.raises(Forbidden, match="FACET_CORS_ORIGINS"):
            policy().check({**posted("localhost:8000", **fields), "method": method})
    for method in ("GET", "HEAD", "OPTIONS"):
        policy().check({**posted("localhost:8000", **fields), "method": method})


def test_two_origins_are_none_to_be_trusted() -> None:
    own = ("Origin", "http://localhost:8000")
    with pytest.raises(Forbidden):
        policy().check(scope_of(("Host", "localhost:8000"), own, own, method="POST"))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"), ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"), ("localhost", "http://localhost"), ("localhost:443", "https://localhost"),
        ("192.0.2.7", "https://192.0.2.7"),
    ],
)  # fmt: skip
def test_the_gateways_own_pages_may(host: str, origin: str) -> None:
    policy().check(posted(host, Origin=origin, Sec_Fetch_Site="same-origin"))


def test_no_browser_is_asked_where_it_comes_from() -> None:
    policy().check(posted("localhost:8000"))
    policy().check(posted("localhost:8000", Sec_Fetch_Site="none"))


def test_pages_of_the_public_address_and_of_cors_may() -> None:
    # A proxy that puts its own Host in the place of the caller's.
    behind = policy(public_url="https://facet.example/way", cors_origins="https://console.example:444")
    for origin in ("https://facet.example", "https://console.example:444"):
        behind.check(posted("127.0.0.1:8000", Origin=origin, Sec_Fetch_Site="cross-site"))
    for origin in ("http://facet.example", "https://facet.example:8443", "https://console.example", "null"):
        with pytest.raises(Forbidden):
            behind.check(posted("127.0.0.1:8000", Origin=origin))
    anybody = policy(cors_origins="*")
    anybody.check(posted("127.0.0.1:8000", Origin="https://evil.example", Sec_Fetch_Site="cross-site"))
    with pytest.raises(MisdirectedRequest):
        anybody.check(posted("evil.example", Origin="https://evil.example"))


def test_a_key_is_proof_enough() -> None:
    keyed = policy(api_keys=True)
    keyed.check(posted("anything.example", Origin="https://evil.example", Sec_Fetch_Site="cross-site"))


def test_an_address_is_known_by_all_its_spellings() -> None:
    assert parse_authority("[0:0::1]:80") == parse_authority("[::1]:80")
    assert parse_authority("EXAMPLE.org.") == parse_authority("example.org")


@pytest.mark.parametrize(
    "values",
    [
        {"allowed_hosts": "facet.internal:8000"}, {"allowed_hosts": "*"}, {"allowed_hosts": "https://facet.internal"},
        {"cors_origins": "console.example"}, {"cors_origins": "https://console.example/"},
        {"public_url": "facet.example"},
        {"cors_origins": "https://*.example"}, {"public_url": "https://facet.example/?a=b"},
    ],
)  # fmt: skip
def test_what_would_never_match_is_refused_at_the_start(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, **values)  # type: ignore[arg-type]
