"""Settings of explanations, read from the environment (`FACET_EXPLANATION_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class ExplanationSettings(CapabilitySettings):
    """What explanations may take."""

    model_config = SettingsConfigDict(env_prefix="FACET_EXPLANATION_")

    uploaded_memory_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    """Bytes of the files of graphs that are made on demand, of uploaded classifiers and of released ones whose cards
    want it so, all together; an open graph takes about three times its file. Beyond, those that were not asked for the
    longest are made anew when they are asked for again."""
