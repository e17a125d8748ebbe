"""Answers of services that break HTTP, each by a name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from tests.hostile.scripts import Script, answer

SCRIPTS: Final[Mapping[str, Script]] = {}
