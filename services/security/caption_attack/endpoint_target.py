"""Asks a registered captioner for captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.distances import encode_exactly
from services.security.caption_attack.endpoints import CaptionEndpoint
from services.security.endpoints.asking import EndpointClient
from shared.fleet.budget import QueryBudget
from shared.fleet.questions import RetryPolicy
from shared.webhooks.addresses import IPNetwork
from shared.webhooks.ssrf_guard import Resolve


class EndpointTarget(EndpointClient[str]):
    """A captioner behind a registered endpoint, as a target of campaigns; a context manager.

    Args:
        endpoint: as registered.
        budget: as of `EndpointClient`, and so are the others.
        networks: what the operator allows besides public addresses.
        policy: pauses between tries.
        resolve: names to addresses.
        watch: called now and then while answers are waited for.

    Raises:
        ValueError: the URL is not allowed, or the secret is not in the environment.
    """

    def __init__(
        self,
        endpoint: CaptionEndpoint,
        budget: QueryBudget,
        *,
        networks: tuple[IPNetwork, ...] = (),
        policy: RetryPolicy | None = None,
        resolve: Resolve | None = None,
        watch: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(
            endpoint,
            endpoint.read_caption,
            budget,
            what=("captioner", "caption"),
            networks=networks,
            policy=policy,
            resolve=resolve,
            watch=watch,
        )

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        """One caption of each picture, in order.

        Raises:
            BudgetExhausted: a further try is not allowed.
            Problem: the endpoint may not be asked, does not answer, or answers something else.
        """
        return self.ask([encode_exactly(picture) for picture in pictures])
