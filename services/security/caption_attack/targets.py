"""The captioner that an attack asks, wherever it is, and who says where it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.campaigns.runs import needs_attention
from services.security.caption_attack.captioners.endpoint_target import EndpointTarget
from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.caption_attack.captioners.fleet_target import CaptionQuestion, FleetCaptioner
from services.security.caption_attack.captioners.prepaid_budget import PrepaidBudget
from services.security.caption_attack.captioners.queries import CaptionTarget
from services.security.caption_attack.settings import CaptionAttackSettings
from shared.fleet.budget import QueryBudget
from shared.fleet.client import BlockingFleetClient
from shared.fleet.questions import RetryPolicy
from shared.problems import NotFound, ServiceUnavailable, UnprocessableContent, field_problem
from shared.settings import Settings

_GUIDE_TRIES: Final = 3
_POLICY: Final = RetryPolicy(longest_try_s=20.0)
"""A job cannot be cancelled while it waits for the fleet."""

_FLEET_BATCH: Final = 20
"""Pictures of a question: a population of differential evolution, which are computed together."""


@dataclass(frozen=True)
class AttackTarget:
    """Whom an attack asks.

    Attributes:
        captioner: is attacked.
        fleet: the same, if it is a model of the fleet; else its guide; None where nobody says attention.
        own_attention: whether attention comes from the captioner itself, and counts as a query.
        batch: pictures that are best sent at once.
        required: whether who says attention was chosen, and must not fail; else a guide that nobody named may.
    """

    captioner: CaptionTarget
    fleet: FleetCaptioner | None
    own_attention: bool
    batch: int
    required: bool

    def attend(self, picture: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Attention to a picture (words, rows, columns); None where there is nobody who says it.

        Raises:
            BudgetExhausted, Problem: the captioner's, or those of a guide that was asked for by name.
        """
        if self.fleet is None:
            return None
        try:
            return self.fleet.attend(picture).maps
        except (NotFound, ServiceUnavailable, UnprocessableContent):
            if self.required:
                raise
            return None  # nobody named this guide: the attack goes on without, and says so


@contextmanager
def open_target(
    options: AttackOptions,
    settings: Settings,
    limits: CaptionAttackSettings,
    budget: QueryBudget,
    *,
    pictures: int,
    watch: Callable[[], object],
    pause: Callable[[float], object],
) -> Iterator[AttackTarget]:
    """The target of an attack, with its connections.

    Args:
        options: of the attack.
        settings: where the fleet is.
        limits: which endpoints are registered.
        budget: of the captioner.
        pictures: how many, which bounds the questions to a guide.
        watch: called now and then while an endpoint is waited for; what it raises ends the waiting.
        pause: waits, and ends with the job.

    Raises:
        UnprocessableContent: the endpoint is not registered any more, or cannot be asked.
    """
    with ExitStack() as stack:

        def fleet_captioner(limit: QueryBudget, question: CaptionQuestion) -> FleetCaptioner:
            prepaid = PrepaidBudget(limit)
            client = BlockingFleetClient(settings, "perception", budget=prepaid, policy=_POLICY, pause=pause)
            return FleetCaptioner(stack.enter_context(client), prepaid, question)

        if options.endpoint is None:
            question = CaptionQuestion(model=options.model, beams=options.beams, most_words=options.most_words)
            captioner = fleet_captioner(budget, question)
            yield AttackTarget(captioner, captioner, own_attention=True, batch=_FLEET_BATCH, required=True)
            return
        endpoint = registered_endpoint(options.endpoint, limits)
        try:
            asked = stack.enter_context(EndpointTarget(endpoint, budget, networks=limits.allowed_networks, watch=watch))
        except ValueError as error:
            raise UnprocessableContent(f"This endpoint cannot be asked: {error}.") from None
        guide = None
        if needs_attention(options):
            guide = fleet_captioner(QueryBudget(pictures * _GUIDE_TRIES), CaptionQuestion(model=options.guide))
        batch, required = min(_FLEET_BATCH, max(1, endpoint.concurrency)), options.guide is not None
        yield AttackTarget(asked, guide, own_attention=False, batch=batch, required=required)


def registered_endpoint(name: str, limits: CaptionAttackSettings) -> CaptionEndpoint:
    """A registered endpoint.

    Raises:
        UnprocessableContent: there is none of this name.
    """
    try:
        return limits.endpoint(name)
    except KeyError:
        names = ", ".join(sorted(one.name for one in limits.endpoints)) or "none"
        detail = f"{name!r} is not registered by the operator of this fleet. Registered: {names}."
        raise field_problem("/body/endpoint", detail) from None
