"""Finds the Redis to speak with: the one that the settings name, or that of the fleet that `make run` started here."""

from __future__ import annotations

import os
from pathlib import Path

from shared.settings import Settings, get_settings

STATE = "FACET_STATE"
"""Environment variable that names the folder of the local fleet, as its option `--state` does."""


def find_settings() -> Settings:
    """The settings, with the Redis of the local fleet where they name none.

    The local fleet's Redis has another port and password after each start; its configuration holds both and is
    readable by its owner only.
    """
    settings = get_settings()
    if "redis_url" in settings.model_fields_set:
        return settings
    url = local_redis_url(Path(os.environ.get(STATE, ".facet")))
    return settings if url is None else settings.model_copy(update={"redis_url": url})


def local_redis_url(state: Path) -> str | None:
    """URL of the Redis of the fleet that runs, or last ran, out of this folder; None if there was none."""
    try:
        lines = (state / "redis" / "redis.conf").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    said = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    if not said.keys() >= {"port", "requirepass"}:
        return None
    return f"redis://:{said['requirepass']}@127.0.0.1:{said['port']}/0"
