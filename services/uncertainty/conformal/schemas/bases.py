"""What models of several resources have in common: pages, and streams and monitors, whose states observations move."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Page(BaseModel):
    """One page of a longer list."""

    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one")


class NamedOptions(BaseModel):
    """Options of something that callers keep under a name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", max_length=100, description="What you call it; need not be unique")


class SequencedOptions(BaseModel):
    """What is sent in an order, and counted once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: int | None = Field(
        default=None,
        ge=1,
        description="Number of the first observation, from 1. Sent again with the same number they are not counted "
        "again",
    )


class StateAnswer(BaseModel):
    """Something that was begun, as it is now."""

    id: str = Field(description="Its id")
    name: str = Field(description="As posted; need not be unique")
    options: dict[str, Any] = Field(description="As posted, with the defaults")
    created_at: datetime = Field(description="When it was begun, UTC")
    steps: int = Field(description="Observations so far; also the ETag")
    guarantee: str = Field(description="What holds, in words")


class StepsAnswer(BaseModel):
    """What became of observations."""

    steps: int = Field(description="Observations so far")
    replayed: bool = Field(description="They had been counted before; this is what was answered then")
