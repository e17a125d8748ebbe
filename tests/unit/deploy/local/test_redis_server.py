from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.redis_server import local_redis, without_password


def test_the_configuration_keeps_jobs_and_strangers_apart(tmp_path: Path) -> None:
    specification, url = local_redis(tmp_path / "redis", 4321)
    lines = (tmp_path / "redis" / "redis.conf").read_text().splitlines()
    password = url.removeprefix("redis://:").partition("@")[0]
    assert {"bind 127.0.0.1", "port 4321", "appendonly yes", "maxmemory-policy noeviction", 'save ""'} <= set(lines)
    assert f"requirepass {password}" in lines
    assert password not in specification.address
    assert not any(password in word for word in specification.command)


def test_only_the_owner_reads_the_password(tmp_path: Path) -> None:
    local_redis(tmp_path, 4321)
    assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("redis://:secret@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://user:p%40ss@cache.example:6380/2", "redis://cache.example:6380/2"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    ],
)
def test_urls_are_printed_without_password(url: str, printed: str) -> None:
    assert without_password(url) == printed
