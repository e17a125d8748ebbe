"""Asks a registered captioner for captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.caption_attack.pictures.distances import encode_exactly
from services.security.endpoints.asking import AskingOptions, EndpointClient
from shared.fleet.budget import QueryBudget


class EndpointTarget(EndpointClient[str]):
    """A captioner behind a registered endpoint, as a target of campaigns; a context manager.

    Args:
        endpoint: as registered.
        budget: as of `EndpointClient`.
        options: as of `AskingOptions`.

    Raises:
        ValueError: the URL is not allowed, or the secret is not in the environment.
    """

    def __init__(self, endpoint: CaptionEndpoint, budget: QueryBudget, **options: Unpack[AskingOptions]) -> None:
        super().__init__(endpoint, endpoint.read_caption, budget, what=("captioner", "caption"), **options)

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        """One caption of each picture, in order.

        Raises:
            BudgetExhausted: a further try is not allowed.
            Problem: the endpoint may not be asked, does not answer, or answers something else.
        """
        return self.ask([encode_exactly(picture) for picture in pictures])
