"""Settings of conformal prediction, read from the environment (`FACET_CONFORMAL_` prefix) or `.env`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import CapabilitySettings


class ConformalSettings(CapabilitySettings):
    """What callers may post and keep."""

    model_config = SettingsConfigDict(env_prefix="FACET_CONFORMAL_")

    upload_limit_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    """Largest body in bytes of a request about a calibration or a risk: logits of 50,000 items for 1,000 classes are
    200 MB. Such files go to disk while they stream in."""

    values_limit: int = Field(default=50_000_000, gt=0)
    """Most numbers of one array that a calibration is made of, or asked about: items times classes."""

    resources_limit: int = Field(default=1000, ge=1)
    """Most calibrations, and most streams and monitors, that one owner keeps."""

    history: int = Field(default=1000, ge=1)
    """Newest observations of a stream or a monitor that are kept for its picture and for repeated requests."""


def upload_limit_bytes() -> int:
    """The setting of that name, as the environment has it."""
    return ConformalSettings().upload_limit_bytes
