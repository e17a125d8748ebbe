"""What an attack asks, before anything is asked."""

from __future__ import annotations

import math
from typing import Final

from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.campaigns.runs import needs_attention
from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.caption_attack.schemas import AttackCost, CostPart
from services.security.caption_attack.settings import CaptionAttackSettings

FURTHER_TRIES: Final = 1.1
"""Budget of an endpoint for each query that is planned, unless a budget is given."""


def cost_of(
    options: AttackOptions, settings: CaptionAttackSettings, *, pictures: int, endpoint: CaptionEndpoint | None
) -> AttackCost:
    """What an attack costs at most, where the captioner says the same of the same picture.

    Args:
        options: of the attack.
        settings: its limits.
        pictures: how many.
        endpoint: that is asked, if it is no model of the fleet; its guide's queries are not its own.
    """
    runs = pictures * len(options.arms) * options.seeds
    own_attention = pictures if endpoint is None and needs_attention(options) else 0
    parts = [
        CostPart(purpose="probes", queries=pictures * options.probes),
        CostPart(purpose="attention", queries=own_attention),
        CostPart(purpose="searches", queries=runs * options.queries),
        CostPart(purpose="defences", queries=runs * 2 * len(options.defences)),
    ]
    queries = sum(part.queries for part in parts)
    factor = 1.0 if endpoint is None else FURTHER_TRIES
    budget = options.budget or min(math.ceil(queries * factor), max(queries, settings.queries_limit))
    seconds = None if endpoint is None else min(queries, budget) / endpoint.queries_per_s
    advice = _advice(settings, runs=runs, queries=min(queries, budget), seconds=seconds)
    return AttackCost(
        pictures=pictures,
        runs=runs,
        parts=parts,
        queries=queries,
        budget=budget,
        seconds_at_least=None if seconds is None else round(seconds, 1),
        queries_limit=settings.queries_limit,
        accepted=advice is None,
        advice=advice,
    )


def _advice(settings: CaptionAttackSettings, *, runs: int, queries: int, seconds: float | None) -> str | None:
    """What to lower, if something is too large."""
    if runs > settings.runs_limit:
        return f"These are {runs} runs; at most {settings.runs_limit} are accepted. Post fewer pictures, arms or seeds."
    if queries > settings.queries_limit:
        return (
            f"This takes up to {queries} queries; at most {settings.queries_limit} are accepted. Lower "
            "`queries`, `seeds` or `budget`, or name fewer arms."
        )
    if seconds is not None and seconds > settings.seconds_limit:
        return (
            f"At the rate of this endpoint this takes at least {seconds:.0f} s; at most {settings.seconds_limit:.0f} s "
            "are accepted. Lower `queries`, `seeds` or `budget`, or name fewer arms."
        )
    return None
