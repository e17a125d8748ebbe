"""An attack: every run on every picture, with a checkpoint before each batch is sent and after each answer.

The checkpoint before a batch counts it as seen, so that the budget holds whatever breaks; the one after its answer
spares asking again. An attack goes on from either as if there had been no break.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.campaigns.campaign import Campaign, CampaignSettings
from services.security.caption_attack.campaigns.checkpoints import pack, unpack
from services.security.caption_attack.campaigns.defences import try_defences
from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.campaigns.runs import Run, needs_attention, runs_of
from services.security.caption_attack.captioners.queries import CaptionQueries
from services.security.caption_attack.reporting.findings import (
    AttackProgress,
    DefenceView,
    PictureView,
    RunView,
    describe_defence,
    describe_run,
)
from services.security.caption_attack.searching.arms import Arm, ArmOptions, make_arm
from services.security.caption_attack.searching.objectives import Objective, SuccessGoals
from services.security.caption_attack.targets import AttackTarget
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.imaging.signatures import MediaType
from shared.storage.blobs import DEFAULT_MEDIA_TYPE, BlobStore

Picture = NDArray[np.uint8]

_CAMPAIGN: Final = "campaign"
_MAPS: Final = "maps"


@dataclass(frozen=True, slots=True)
class Advance:
    """Where an attack is.

    Attributes:
        run: the run under way.
        done: queries of the plan that are behind it; a run that ended early has none left.
        campaign: the run's.
    """

    run: Run
    done: int
    campaign: Campaign


class Attack:
    """Runs an attack.

    Args:
        options: of the attack.
        pictures: (h, w, 3) uint8 each.
        blobs: for what is too large for a checkpoint.
        limit: most queries.
        seconds: after which it ends with what it has found.
        save: stores a checkpoint.
        show: is told of each generation.
        saved: a checkpoint of an earlier attempt.
    """

    def __init__(
        self,
        options: AttackOptions,
        pictures: Sequence[Picture],
        blobs: BlobStore,
        *,
        limit: int,
        seconds: float,
        save: Callable[[bytes], None],
        show: Callable[[Advance], None],
        saved: bytes | None = None,
    ) -> None:
        document, arrays = (b"{}", {}) if saved is None else unpack(saved)
        self.progress = AttackProgress.model_validate_json(document)
        self.budget = QueryBudget(limit, spent=self.progress.spent)
        self._unfinished = arrays[_CAMPAIGN].tobytes() if _CAMPAIGN in arrays else None
        self._options, self._pictures, self._blobs = options, pictures, blobs
        self._store, self._show = save, show
        self._began_s, self._seconds = time.monotonic() - self.progress.seconds, seconds
        self._open: tuple[Run, Campaign] | None = None
        self.stopped: str | None = None
        """Why it ended before its last run, if it did and nobody asked for it."""

    def run(self, target: AttackTarget) -> None:
        """Work off what is left of the plan.

        Raises:
            Problem: the captioner's.
        """
        self._expect_models(target)
        left = runs_of(self._options, len(self._pictures))[len(self.progress.runs) :]
        for run in left:
            if time.monotonic() - self._began_s > self._seconds:
                self.stopped = f"The attack was to end after {self._seconds:.0f} s."
                return
            try:
                picture = self._look_at(run.picture, target)
                self._work(run, picture, target)
            except BudgetExhausted:
                self.stopped = f"The budget of {self.budget.limit} queries is spent."
                return

    def findings(self) -> list[RunView]:
        """Every run that has found anything, the one under way included."""
        found = list(self.progress.runs)
        if self._open is not None and self._open[1].queries:
            run, campaign = self._open
            found.append(describe_run(run, campaign.result(), self._options.goal))
        return found

    def found_pngs(self) -> list[bytes]:
        """The picture of each of `findings`."""
        pngs = [self._blobs.get(digest) for digest in self.progress.pngs]
        if self._open is not None and self._open[1].queries:
            pngs.append(self._open[1].result().png)
        return pngs

    def maps(self, index: int) -> NDArray[np.float64] | None:
        """Attention to a picture (words, rows, columns), if there is any."""
        digest = self.progress.maps[index]
        return None if digest is None else unpack(self._blobs.get(digest))[1][_MAPS]

    def _look_at(self, index: int, target: AttackTarget) -> PictureView:
        """Captions of the clean picture and attention to it, asked for once."""
        progress, picture = self.progress, self._pictures[index]
        if index < len(progress.pictures):
            return progress.pictures[index]
        options = self._options
        attending = needs_attention(options)
        self._reserve(options.probes + (attending and target.own_attention))
        clean = target.captioner.caption([picture] * options.probes)
        maps = target.attend(picture) if attending else None
        self._remember_models(target)
        progress.maps.append(None if maps is None else self._put_maps(maps))
        progress.pictures.append(
            PictureView(
                index=index,
                height=picture.shape[0],
                width=picture.shape[1],
                clean=clean,
                deterministic=len(set(clean)) == 1,
                guided=maps is not None and maps.size > 0,
            )
        )
        self._save()
        return progress.pictures[-1]

    def _put_maps(self, maps: NDArray[np.float64]) -> str:
        return self._blobs.put(pack(b"{}", {_MAPS: maps}), DEFAULT_MEDIA_TYPE).digest

    def _expect_models(self, target: AttackTarget) -> None:
        """What an earlier attempt found out holds for the same weights alone: `FleetCaptioner` refuses others."""
        if target.fleet is not None:
            target.fleet.models = self.progress.models if target.own_attention else self.progress.guides

    def _remember_models(self, target: AttackTarget) -> None:
        if target.fleet is None:
            return
        if target.own_attention:
            self.progress.models = target.fleet.models
        else:
            self.progress.guides = target.fleet.models

    def _work(self, run: Run, view: PictureView, target: AttackTarget) -> None:
        """One run from its beginning, or from where it was, to its end."""
        campaign = self._begin(run, view, target)
        self._open = (run, campaign)
        for _ in campaign.run():
            self._save(campaign.save(), campaign.spent)
            self._tell(run, campaign)
        result = campaign.result()
        described = describe_run(run, result, self._options.goal)
        if result.score < result.clean_score:
            described.defences = self._defend(run, view, campaign, target)
            described.spent = campaign.spent
        self._open = None
        self.progress.runs.append(described)
        self.progress.pngs.append(self._blobs.put(result.png, MediaType.PNG.value).digest)
        self._save()

    def _begin(self, run: Run, view: PictureView, target: AttackTarget) -> Campaign:
        options = self._options
        settings = CampaignSettings(
            queries=options.queries,
            fitness=options.fitness,
            target=options.target,
            stop_at=options.goal if options.stop_at_goal else None,
            clean_queries=1 if view.deterministic else min(options.probes, options.queries),
            repeats=options.probes,
            batch=target.batch,
        )
        campaign = Campaign(
            self._arm(run),
            target.captioner,
            self.budget,
            settings,
            reserve=lambda saved: self._save(saved, campaign.spent),
        )
        if self._unfinished is not None:
            campaign.restore(self._unfinished)
            self._unfinished = None
        return campaign

    def _arm(self, run: Run) -> Arm:
        options, picture = self._options, self._pictures[run.picture]
        height, width = picture.shape[:2]
        asked = ArmOptions(
            pixels=options.pixels(height, width), bound=options.bound, seed=run.seed, queries=options.queries
        )
        return make_arm(run.arm, picture=picture, attention=self.maps(run.picture), options=asked)

    def _defend(self, run: Run, view: PictureView, campaign: Campaign, target: AttackTarget) -> list[DefenceView]:
        options, result = self._options, campaign.result()
        clean = list(result.clean)
        queries = CaptionQueries(
            target.captioner,
            self.budget,
            batch=target.batch,
            reserve=lambda: self._save(campaign.save(), campaign.spent),
        )
        objective = Objective(fitness=options.fitness, references=clean, target=options.target)
        goals = SuccessGoals(clean=clean, clean_score=result.clean_score, target=options.target)
        tried = try_defences(
            queries,
            clean=self._pictures[run.picture],
            changed=result.picture,
            objective=objective,
            seed=run.seed,
            repeats=1 if view.deterministic else options.probes,
            defences=options.defences,
        )
        return [describe_defence(one, goals, options.goal) for one in tried]

    def _tell(self, run: Run, campaign: Campaign) -> None:
        done = len(self.progress.runs) * self._options.queries + campaign.queries
        self._show(Advance(run, done, campaign))

    def _reserve(self, queries: int) -> None:
        """Spend queries, and remember that before they are sent."""
        self.budget.spend(queries)
        self._save()

    def _save(self, campaign: bytes | None = None, of_run: int = 0) -> None:
        """Store a checkpoint.

        Args:
            campaign: checkpoint of the run under way.
            of_run: what this says that was spent.
        """
        progress = self.progress
        progress.spent = self.budget.spent - of_run
        progress.seconds = time.monotonic() - self._began_s
        arrays: dict[str, NDArray[Any]] = {}
        if campaign is not None:
            arrays[_CAMPAIGN] = np.frombuffer(campaign, np.uint8)
        self._store(pack(progress.model_dump_json().encode(), arrays))
