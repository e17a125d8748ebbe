"""One experiment: a campaign over HTTP, and what it found behind filters."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.arms import ArmOptions, make_arm
from services.security.caption_attack.campaign import Campaign, CampaignSettings
from services.security.caption_attack.defences import DEFENCES, try_defences
from services.security.caption_attack.evaluation.asking import ServiceAddress, asked_captioner
from services.security.caption_attack.evaluation.experiments import MAIN, QUERIES, Experiment
from services.security.caption_attack.fleet_target import AttendedCaption, FleetCaptioner
from services.security.caption_attack.objectives import Objective, SuccessGoals
from services.security.caption_attack.pictures import read_attacked_picture
from services.security.caption_attack.progress import CampaignResult
from services.security.caption_attack.queries import CaptionQueries
from shared.fleet.budget import QueryBudget

_SIDE: Final = 256
_LIMIT: Final = 10**8
_BATCH: Final = 20
SHOWN: Final = frozenset({"A", "H"})
"""Searches whose pictures are kept, to be shown to the other captioner."""


@dataclass
class Asker:
    """Runs experiments in one process; attention is asked for once.

    Attributes:
        address: of the service.
        files: photographs.
        attended: attention by captioner and photograph.
    """

    address: ServiceAddress
    files: tuple[Path, ...]
    attended: dict[tuple[str, int], AttendedCaption] = field(default_factory=dict)

    def run(self, experiment: Experiment) -> dict[str, Any]:
        """The line of an experiment.

        Raises:
            Problem: the captioner does not answer.
        """
        picture = read_photograph(self.files[experiment.photograph])
        budget = QueryBudget(QUERIES + 2 * len(DEFENCES))
        maps = self._attend(experiment.guide, experiment.photograph, picture).maps
        with asked_captioner(self.address, experiment.victim, budget) as captioner:
            campaign = Campaign(_arm(experiment, picture, maps), captioner, budget, settings())
            for _ in campaign.run():
                pass
            result = campaign.result()
            line = describe(experiment, result)
            if experiment.defended and result.score < result.clean_score:
                line["defences"] = _defend(experiment, captioner, budget, picture, result)
            assert captioner.models is not None  # noqa: S101 - it has answered
            line["model"] = captioner.models[0].weights_sha256
        return line

    def _attend(self, name: str, photograph: int, picture: NDArray[np.uint8]) -> AttendedCaption:
        key = (name, photograph)
        if key not in self.attended:
            budget = QueryBudget(1)
            budget.spend(1)
            with asked_captioner(self.address, name, budget) as captioner:
                self.attended[key] = captioner.attend(picture)
        return self.attended[key]


@cache
def read_photograph(file: Path) -> NDArray[np.uint8]:
    """A photograph as it is attacked, (h, w, 3) uint8."""
    return read_attacked_picture(file.read_bytes(), longest_side=_SIDE, pixel_limit=_LIMIT, pointer=str(file))


def settings() -> CampaignSettings:
    """Of all campaigns: captioners here say the same each time, and every query is spent."""
    return CampaignSettings(queries=QUERIES, fitness="bleu4", clean_queries=1, batch=_BATCH)


def _arm(experiment: Experiment, picture: NDArray[np.uint8], maps: NDArray[np.float64]) -> Any:
    pixels = max(1, round(experiment.setting.percent / 100 * picture.shape[0] * picture.shape[1]))
    options = ArmOptions(pixels=pixels, bound=experiment.setting.bound, seed=experiment.seed, queries=QUERIES)
    return make_arm(experiment.arm, picture=picture, attention=maps, options=options)


def describe(experiment: Experiment, result: CampaignResult) -> dict[str, Any]:
    """The line of a result, as JSON."""
    line: dict[str, Any] = {
        "key": experiment.key,
        **experiment.as_json(),
        "clean": result.clean[0],
        "caption": result.captions[0],
        "score": result.score,
        "curve": [[point.queries, point.score] for point in result.curve],
        "reached": {goal: one.queries for goal, one in result.reached.items()},
        "queries": result.queries,
        "spent": result.spent,
        "distances": asdict(result.distances),
    }
    if experiment.arm in SHOWN and experiment.setting == MAIN and experiment.guide == experiment.victim:
        line["png"] = base64.b64encode(result.png).decode("ascii")
    return line


def _defend(
    experiment: Experiment,
    captioner: FleetCaptioner,
    budget: QueryBudget,
    clean: NDArray[np.uint8],
    result: CampaignResult,
) -> list[dict[str, Any]]:
    objective = Objective(fitness="bleu4", references=list(result.clean))
    goals = SuccessGoals(clean=result.clean, clean_score=result.clean_score)
    queries = CaptionQueries(captioner, budget, batch=_BATCH)
    tried = try_defences(queries, clean=clean, changed=result.picture, objective=objective, seed=experiment.seed)
    return [
        {
            "defence": one.defence,
            "clean_score": one.clean_score,
            "changed_score": one.changed_score,
            "clean_differs": "caption_differs" in goals.reached(one.clean, one.clean_score),
            "goals": sorted(goals.reached(one.changed, one.changed_score)),
        }
        for one in tried
    ]


def show(address: ServiceAddress, model: str, pngs: Mapping[str, NDArray[np.uint8]]) -> dict[str, str]:
    """What another captioner says of pictures, by their keys."""
    budget = QueryBudget(len(pngs))
    keys, captions = list(pngs), []
    with asked_captioner(address, model, budget) as captioner:
        for start in range(0, len(keys), _BATCH):
            some = [pngs[key] for key in keys[start : start + _BATCH]]
            budget.spend(len(some))
            captions += captioner.caption(some)
    return dict(zip(keys, captions, strict=True))
