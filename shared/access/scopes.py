"""Scopes, and which of them a request needs. What no rule names needs `admin`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

SCOPES: Final[Mapping[str, str]] = {
    "medical:run": "enhance, reconstruct and diagnose medical images",
    "medical:read": "read what the medical service keeps",
    "generation:run": "generate images and videos",
    "generation:read": "read what the generation service keeps",
    "attack:run": "attack and protect the fleet's models (the security service)",
    "attack:read": "read what the security service keeps",
    "uncertainty:run": "explain, calibrate and predict sets",
    "uncertainty:read": "read calibrations and streams",
    "perception:run": "classify, detect and caption",
    "perception:read": "read what the perception service keeps",
    "models:read": "read model cards",
    "models:run": "run any model on tensors, by the Open Inference Protocol",
    "jobs:read": "read and follow one's own jobs, fetch their files",
    "jobs:write": "cancel and retry one's own jobs",
    "webhooks:read": "read one's own webhooks and their deliveries",
    "webhooks:write": "make, change, test and delete one's own webhooks",
    "metrics:read": "read the gateway's metrics",
    "admin": "everything, for everybody's jobs, models that are uploaded, and the audit log",
}
"""Every scope, in words. `medical:*` stands for both scopes of that name."""

PUBLIC: Final = ""
"""What a request needs that anybody may make."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class _Rule:
    path: re.Pattern[str]
    safe: str
    unsafe: str


def _rule(path: str, safe: str, unsafe: str) -> _Rule:
    return _Rule(re.compile(path), safe, unsafe)


_RULES: Final = (
    _rule(r"/", PUBLIC, PUBLIC),
    _rule(r"/(docs|health|static)(/.*)?", PUBLIC, PUBLIC),
    _rule(r"/(openapi\.json|favicon\.ico)", PUBLIC, PUBLIC),
    _rule(r"/metrics", "metrics:read", "admin"),
    _rule(r"/v1/models(/.*)?", "models:read", "admin"),
    _rule(r"/v2/health(/.*)?", PUBLIC, PUBLIC),
    _rule(r"/v2(/models/.*)?", "models:read", "models:run"),
    _rule(r"/v2/repository/index", "models:read", "models:read"),
    _rule(r"/v2/repository/models/.*", "admin", "admin"),
    _rule(r"/v1/jobs/[^/]+/events/links", "jobs:read", "jobs:read"),
    _rule(r"/v1/jobs(/.*)?", "jobs:read", "jobs:write"),
    _rule(r"/v1/webhooks(/.*)?", "webhooks:read", "webhooks:write"),
    _rule(r"/v1/security/.*", "attack:read", "attack:run"),
    *(
        _rule(rf"/v1/{domain}/.*", f"{domain}:read", f"{domain}:run")
        for domain in ("medical", "generation", "uncertainty", "perception")
    ),
)


def needed_scope(method: str, path: str) -> str:
    """The scope that a request needs; `PUBLIC` where it needs none.

    Args:
        method: of HTTP; GET, HEAD and OPTIONS read, all others run or write.
        path: as decoded.
    """
    for rule in _RULES:
        if rule.path.fullmatch(path):
            return rule.safe if method in _SAFE else rule.unsafe
    return "admin"


def grants(held: Collection[str], needed: str) -> bool:
    """Whether a key with these scopes may make a request that needs that one."""
    family = needed.partition(":")[0]
    return needed == PUBLIC or bool({needed, f"{family}:*", "admin"} & set(held))


def check_scopes(scopes: Collection[str]) -> None:
    """Refuse scopes that do not exist.

    Raises:
        ValueError: names them, and those that exist.
    """
    families = {f"{scope.partition(':')[0]}:*" for scope in SCOPES if ":" in scope}
    if unknown := sorted(set(scopes) - SCOPES.keys() - families):
        raise ValueError(f"no such scope: {', '.join(unknown)}. There are: {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError("a key needs at least one scope")
