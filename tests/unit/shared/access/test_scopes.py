from __future__ import annotations

import pytest

from shared.access.scopes import PUBLIC, SCOPES, check_scopes, grants, needed_scope


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/", PUBLIC),
        ("GET", "/health/ready", PUBLIC),
        ("GET", "/docs", PUBLIC),
        ("GET", "/docs/oauth2", PUBLIC),
        ("GET", "/openapi.json", PUBLIC),
        ("GET", "/metrics", "metrics:read"),
        ("GET", "/v1/models/low-dose-ct", "models:read"),
        ("POST", "/v1/models", "admin"),
        ("PUT", "/v1/models/low-dose-ct/canary", "admin"),
        ("DELETE", "/v1/models/low-dose-ct/versions/1.0.0", "admin"),
        ("POST", "/v2/repository/index", "models:read"),
        ("POST", "/v2/repository/models/low-dose-ct/load", "admin"),
        ("POST", "/v2/models/low-dose-ct/infer", "models:run"),
        ("GET", "/v1/jobs", "jobs:read"),
        ("DELETE", "/v1/jobs/1", "jobs:write"),
        ("POST", "/v1/jobs/1/retry", "jobs:write"),
        ("POST", "/v1/webhooks", "webhooks:write"),
        ("POST", "/v1/medical/ct/enhancements", "medical:run"),
        ("GET", "/v1/uncertainty/calibrations/1", "uncertainty:read"),
        ("POST", "/v1/security/camouflages", "attack:run"),
        ("GET", "/v1/audit", "admin"),
        ("GET", "/v1/jobsx", "admin"),
        ("GET", "/v2/models", "admin"),
        ("GET", "/healthy", "admin"),
        ("GET", "/docs.txt", "admin"),
    ],
)
def test_what_a_request_needs(method: str, path: str, needed: str) -> None:
    assert needed_scope(method, path) == needed


@pytest.mark.parametrize(
    ("held", "needed", "granted"),
    [
        (["medical:run"], "medical:run", True),
        (["medical:read"], "medical:run", False),
        (["medical:*"], "medical:run", True),
        (["medical:*"], "perception:run", False),
        (["admin"], "attack:run", True),
        (["medical:*"], "admin", False),
        ([], PUBLIC, True),
        ([], "jobs:read", False),
    ],
)
def test_what_a_key_grants(held: list[str], needed: str, granted: bool) -> None:
    assert grants(held, needed) is granted


def test_unknown_scopes_are_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no such scope: medical:fly\. There are: medical:run"):
        check_scopes(["medical:fly", "admin"])
    with pytest.raises(ValueError, match="at least one"):
        check_scopes([])
    with pytest.raises(ValueError, match="no such scope"):
        check_scopes(["*"])
    check_scopes([*SCOPES, "medical:*"])
