"""Hypothesis without deadlines: on a busy machine the first example takes longer than any."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
