"""Scopes, and which of them a request needs. What no rule names needs `admin`.

The fleet's own routes have their rules here; those of services come from the declarations of their capabilities, which
the gateway is given at its start: they hold while a service is down, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from shared.capabilities.collection import Capabilities

PUBLIC: Final = ""
"""What a request needs that anybody may make."""

ADMIN: Final = "admin"

_OWN_SCOPES: Final[Mapping[str, str]] = {
    "models:read": "read model cards",
    "models:run": "run any model on tensors, by the Open Inference Protocol",
    "jobs:read": "read and follow one's own jobs, fetch their files",
    "jobs:write": "cancel and retry one's own jobs",
    "webhooks:read": "read one's own webhooks and their deliveries",
    "webhooks:write": "make, change, test and delete one's own webhooks",
    "metrics:read": "read the gateway's metrics",
    ADMIN: "everything, for everybody's jobs, models that are uploaded, and the audit log",
}

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class _Rule:
    path: re.Pattern[str]
    safe: str
    unsafe: str


def _rule(path: str, safe: str, unsafe: str) -> _Rule:
    return _Rule(re.compile(path), safe, unsafe)


_OWN_RULES: Final = (
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
    _rule(r"/v1/files/.*", "jobs:read", "jobs:read"),
    _rule(r"/v1/jobs(/.*)?", "jobs:read", "jobs:write"),
    _rule(r"/v1/webhooks(/.*)?", "webhooks:read", "webhooks:write"),
)


class AccessPolicy:
    """Which scopes there are, and which of them a request needs.

    Args:
        capabilities: whose routes have rules; those of all others need `admin`.

    Attributes:
        scopes: every scope, in words. `medical:*` stands for all of that family.
    """

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        declared = capabilities or Capabilities()
        self.scopes: Mapping[str, str] = {**declared.scopes, **_OWN_SCOPES}
        self._rules = (
            *_OWN_RULES,
            *(_rule(rf"{re.escape(one.path)}(/.*)?", one.reading, one.running) for one in declared.access),
        )

    def needed_scope(self, method: str, path: str) -> str:
        """The scope that a request needs; `PUBLIC` where it needs none.

        Args:
            method: of HTTP; GET, HEAD and OPTIONS read, all others run or write.
            path: as decoded.
        """
        for rule in self._rules:
            if rule.path.fullmatch(path):
                return rule.safe if method in _SAFE else rule.unsafe
        return ADMIN

    def check_scopes(self, scopes: Collection[str]) -> None:
        """Refuse scopes that do not exist.

        Raises:
            ValueError: names them, and those that exist.
        """
        families = {f"{scope.partition(':')[0]}:*" for scope in self.scopes if ":" in scope}
        if unknown := sorted(set(scopes) - self.scopes.keys() - families):
            raise ValueError(f"no such scope: {', '.join(unknown)}. There are: {', '.join(self.scopes)}")


def grants(held: Collection[str], needed: str) -> bool:
    """Whether a key with these scopes may make a request that needs that one."""
    family = needed.partition(":")[0]
    return needed == PUBLIC or bool({needed, f"{family}:*", ADMIN} & set(held))
