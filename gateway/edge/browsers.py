"""What keeps web pages of others from driving the gateway, and what lets those in that the operator names.

A browser sends requests wherever any page tells it to, loopback included, so that an address which only this machine
reaches is no border for a page from elsewhere. Three things tell such requests from others: the Host that the page knew
the gateway by (DNS rebinding points a name of the page's own at it), and Origin and Sec-Fetch-Site, which browsers set
and no page can change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from shared.problems import BadRequest, Forbidden, MisdirectedRequest
from shared.settings import Settings

_AUTHORITY: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{0,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = re.compile(r"([a-z0-9-]+\.)*localhost")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OTHER_SITES: Final = frozenset({"cross-site", "same-site"})


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of an address.

    Attributes:
        host: in small letters, without a dot at its end; an IPv6 address without brackets.
        port: None where none is given.
        unnamed: whether no name server was asked for it: an IP address, or a name of loopback (RFC 6761).
    """

    host: str
    port: int | None
    unnamed: bool


Origin = tuple[str, str, int]
"""Scheme, host and port."""


@lru_cache(maxsize=1024)
def parse_authority(text: str) -> Authority | None:
    """Host and port as RFC 9110, section 7.2, has them in Host; None where it is neither a name nor an IP address."""
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65535:
        return None
    host = (match["ipv6"] or match["name"]).lower().removesuffix(".")
    address = _address(host)
    if not host or (match["ipv6"] is not None) != isinstance(address, IPv6Address):
        return None
    unnamed = address is not None or _LOOPBACK.fullmatch(host) is not None
    return Authority(str(address or host), int(match["port"]) if match["port"] else None, unnamed)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def parse_origin(text: str) -> Origin | None:
    """An origin of a web page; None for `null` and for pages that came by other ways than HTTP."""
    scheme, _, rest = text.lower().partition("://")
    authority = parse_authority(rest)
    if scheme not in _DEFAULT_PORTS or authority is None:
        return None
    return scheme, authority.host, authority.port or _DEFAULT_PORTS[scheme]


class BrowserPolicy:
    """Says which requests browsers, or whoever looks like one, may not make.

    Where the gateway asks for API keys, only Host is looked at, for being well formed: a key is sent by a page that has
    it and by no browser of its own accord, so that the key itself proves what Origin would. Without keys whoever
    reaches the gateway may do everything, and these rules are what strangers' pages meet:

    - it answers to localhost, IP addresses, the name of `public_url` and the names of `allowed_hosts` only (421);
    - what changes something may not come from a page of another origin (403). `Origin: null`, which sandboxed pages
      and local files have, is another one. Origins of `cors_origins` are not.

    Args:
        settings: `api_keys`, `public_url`, `allowed_hosts` and `cors_origins`.
    """

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.public_url)
        public = parse_origin(f"{address.scheme}://{address.netloc}")
        origins = {public, *map(parse_origin, settings.cors_origins)}
        self._keys = settings.api_keys
        self._names = frozenset({*settings.allowed_hosts, *([public[1]] if public else [])})
        self._endings = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._origins = frozenset(origin for origin in origins if origin is not None)
        self._every_origin = "*" in settings.cors_origins

    def check(self, scope: Scope) -> None:
        """Refuse what may not come in; costs a few microseconds, as names are remembered.

        Args:
            scope: ASGI scope of the request, before its body is read.

        Raises:
            BadRequest: Host is missing, there more than once, or malformed (RFC 9112, section 3.2).
            MisdirectedRequest: it is a name that the gateway does not answer to.
            Forbidden: a page of another origin sent something that is not safe.
        """
        host = _host_of(scope)
        if self._keys:
            return
        if host is not None and not self._answers_to(host):
            raise MisdirectedRequest(
                f"This gateway asks for no API keys and so does not answer to the name {host.host}, which any web page "
                "could have pointed at it. Its operator can add the name to FACET_ALLOWED_HOSTS, or turn on keys."
            )
        if scope["method"] not in _SAFE and not self._every_origin and self._is_foreign(scope, host):
            raise Forbidden(
                "This was sent by a web page of another origin, and this gateway asks for no API keys. Its operator "
                "can name the page's origin in FACET_CORS_ORIGINS, or the gateway's own address in FACET_PUBLIC_URL."
            )

    def _answers_to(self, host: Authority) -> bool:
        return host.unnamed or host.host in self._names or host.host.endswith(self._endings)

    def _is_foreign(self, scope: Scope, host: Authority | None) -> bool:
        origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
        if not origins:  # no browser, or one that says at least where the page is from
            return not _OTHER_SITES.isdisjoint(sites)
        page = parse_origin(origins[0])
        if page is None or len(origins) > 1:
            return True
        if page in self._origins:
            return False
        same = host is not None and page[1:] == (host.host, host.port or _DEFAULT_PORTS[page[0]])
        return not same or "cross-site" in sites


def _host_of(scope: Scope) -> Authority | None:
    """The host that was asked for; None in HTTP/1.0, where requests need not name it.

    Raises:
        BadRequest: it is missing, there more than once, or malformed.
    """
    given = _values(scope, b"host")
    if scope.get("http_version") in {"1", "1.0"} and given in ([], [""]):  # granian's way to write them
        return None
    if len(given) != 1:
        raise BadRequest(f"A request has the Host field exactly once (RFC 9112, section 3.2); this has {len(given)}.")
    host = parse_authority(given[0].strip())
    if host is None:
        raise BadRequest("The Host field must be a name or an IP address, and may have a port.")
    return host


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
