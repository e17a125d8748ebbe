"""Runs a campaign against an endpoint; as a script its arguments are the URL and the file of the checkpoint."""

from __future__ import annotations

import sys
from ipaddress import ip_network
from pathlib import Path

from services.security.caption_attack.campaigns.campaign import Campaign, CampaignSettings
from services.security.caption_attack.captioners.endpoint_target import EndpointTarget
from services.security.caption_attack.captioners.endpoints import CaptionEndpoint
from services.security.caption_attack.searching.arms import ArmOptions, make_arm
from services.security.endpoints.registration import PICTURE
from shared.fleet.budget import QueryBudget
from tests.unit.services.security.caption_attack.example_captioners import attention_on_region, noise_picture

LIMIT = 60


def run(url: str, checkpoint: Path) -> int:
    """What is spent of LIMIT in the end, that of earlier runs included."""

    def save(content: bytes) -> None:
        fresh = checkpoint.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(checkpoint)

    endpoint = CaptionEndpoint.model_validate(
        {
            "name": "theirs",
            "url": url,
            "request": {"kind": "json", "template": {"inputs": [{"image": PICTURE}]}},
            "caption": "/choices/0/message/content",
            "queries_per_s": 1000,
            "concurrency": 4,
            "owner": "Captions Ltd",
            "ownership": "We run this captioner and allow tests of it.",
        }
    )
    picture, budget = noise_picture(), QueryBudget(LIMIT)
    options = ArmOptions(pixels=30, bound=40, seed=1, queries=LIMIT, share=0.1)
    arm = make_arm("A", picture=picture, attention=attention_on_region(), options=options)
    with EndpointTarget(endpoint, budget, networks=(ip_network("127.0.0.0/8"),)) as target:
        campaign = Campaign(arm, target, budget, CampaignSettings(queries=LIMIT), reserve=save)
        if checkpoint.exists():
            campaign.restore(checkpoint.read_bytes())
        for _ in campaign.run():
            save(campaign.save())
    return budget.spent


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
