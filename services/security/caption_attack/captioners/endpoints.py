"""Captioners that somebody runs elsewhere, as an operator registers them."""

from __future__ import annotations

from typing import Self

import orjson
from pydantic import Field, model_validator

from services.security.endpoints.registration import Endpoint, follow, is_pointer


class CaptionEndpoint(Endpoint):
    """A captioner that an operator has registered."""

    caption: str = Field(
        description="JSON pointer (RFC 6901) to the caption in the answer", examples=["/choices/0/message/content"]
    )

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if not is_pointer(self.caption):
            raise ValueError("caption is no JSON pointer: it begins with / or is empty, and ~ is written ~0")
        return self

    def read_caption(self, content: bytes) -> str:
        """The caption in an answer.

        Raises:
            ValueError: the answer is no JSON, or has no text where the caption should be.
        """
        found = follow(orjson.loads(content), self.caption)
        if not isinstance(found, str):
            raise ValueError(f"there is no text at {self.caption!r}")
        return found
