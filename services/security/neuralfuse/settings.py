"""Settings of NeuralFuse, read from the environment (`FACET_NEURALFUSE_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class NeuralFuseSettings(CapabilitySettings):
    """What predictions at low voltage may take."""

    model_config = SettingsConfigDict(env_prefix="FACET_NEURALFUSE_")

    most_macs: float = Field(default=2e11, gt=0)
    """Multiply-accumulates of one request: pictures, times seeds and nominal voltage, times ways, times those of the
    classifier. Two cores do this many in about ten seconds."""

    networks_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    """Bytes of the weight memories and graphs of classifiers that are kept open; beyond, those go that were not asked
    for the longest."""

    faulty_weights_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    """Bytes of weights with bit errors that are kept for the next request with the same seeds."""
