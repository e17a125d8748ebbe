"""One experiment: a campaign over HTTP, and what it found behind filters."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.campaigns.campaign import Campaign, CampaignSettings
from services.security.caption_attack.campaigns.defences import DEFENCES, try_defences
from services.security.caption_attack.campaigns.progress import CampaignResult
from services.security.caption_attack.captioners.fleet_target import AttendedCaption, FleetCaptioner
from services.security.caption_attack.captioners.queries import CaptionQueries
from services.security.caption_attack.evaluation.asking import ServiceAddress, asked_captioner
from services.security.caption_attack.evaluation.experiments import QUERIES, Experiment
from services.security.caption_attack.pictures.posted_pictures import read_attacked_picture
from services.security.caption_attack.searching.arms import Arm, ArmOptions, make_arm
from services.security.caption_attack.searching.objectives import Objective, SuccessGoals
from services.security.caption_attack.searching.searches import RandomDraws
from shared.fleet.budget import QueryBudget

_SIDE: Final = 256
_LIMIT: Final = 10**8
_BATCH: Final = 20


@dataclass
class Asker:
    """Runs experiments in one process; attention is asked for once.

    Attributes:
        address: of the service.
        first: captioner that pictures are found on which are shown to others.
        shown_to: those others.
        files: photographs.
        attended: attention by captioner and photograph.
    """

    address: ServiceAddress
    first: str
    shown_to: tuple[str, ...]
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
            arm = _arm(experiment, picture, maps)
            campaign = Campaign(arm, captioner, budget, settings())
            for _ in campaign.run():
                pass
            result = campaign.result()
            line = describe(experiment, result)
            if experiment.defended and result.score < result.clean_score:
                line["defences"] = _defend(experiment, captioner, budget, picture, result)
            assert captioner.models is not None  # noqa: S101 - it has answered
            line["model"] = captioner.models[0].weights_sha256
        if experiment.shown and experiment.victim == self.first:
            drawn = RandomDraws(arm.space, seed=experiment.seed, draws=1).ask(1)
            pictures = {"clean": picture, "drawn": arm.space.render(drawn)[0], "found": result.picture}
            line["shown"] = {other: self._show(other, pictures) for other in self.shown_to}
        return line

    def _show(self, model: str, pictures: dict[str, NDArray[np.uint8]]) -> dict[str, str]:
        """What a captioner says of pictures, by their names."""
        budget = QueryBudget(len(pictures))
        budget.spend(len(pictures))
        with asked_captioner(self.address, model, budget) as captioner:
            return dict(zip(pictures, captioner.caption([*pictures.values()]), strict=True))

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


def _arm(experiment: Experiment, picture: NDArray[np.uint8], maps: NDArray[np.float64]) -> Arm:
    pixels = max(1, round(experiment.setting.percent / 100 * picture.shape[0] * picture.shape[1]))
    options = ArmOptions(pixels=pixels, bound=experiment.setting.bound, seed=experiment.seed, queries=QUERIES)
    return make_arm(experiment.arm, picture=picture, attention=maps, options=options)


def describe(experiment: Experiment, result: CampaignResult) -> dict[str, Any]:
    """The line of a result, as JSON."""
    return {
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
