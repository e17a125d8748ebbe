"""What an attack has found, run by run: parts of its report, and of its checkpoint."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from services.security.caption_attack.campaigns.defences import DefendedCaptions
from services.security.caption_attack.campaigns.progress import CampaignResult, Ended, Reached
from services.security.caption_attack.campaigns.runs import Run
from services.security.caption_attack.searching.objectives import Goal, SuccessGoals
from shared.runtime.cards import ModelReference


class PictureView(BaseModel):
    """An attacked picture."""

    index: int = Field(description="Position of its file in the request")
    height: int = Field(description="In pixels, as it was attacked")
    width: int = Field(description="In pixels, as it was attacked")
    clean: list[str] = Field(description="Captions of the clean picture, each time that it was shown")
    deterministic: bool = Field(description="Whether these are equal")
    guided: bool = Field(description="Whether there was attention that says where the captioner looks")


class DistancesView(BaseModel):
    """From the clean picture."""

    l0: int = Field(description="Pixels that differ")
    linf: int = Field(description="Greatest difference of a channel, of 255")
    l2: float = Field(description="Root of the sum of squared differences of channels")
    psnr_db: float | None = Field(description="Peak signal-to-noise ratio; null: nothing differs")
    ssim: float = Field(description="Structural similarity, at most 1")


class ScoreAt(BaseModel):
    """A score that no picture before had."""

    queries: int = Field(description="After so many, clean ones included")
    score: float = Field(description="Lower is better for the attack")


class DefenceView(BaseModel):
    """What a filter in front of the captioner leaves of the attack."""

    defence: str = Field(description="Which")
    clean: list[str] = Field(description="Captions of the clean picture behind it")
    changed: list[str] = Field(description="Captions of the changed picture behind it")
    clean_score: float = Field(description="Of the former: what the filter costs where nobody attacks")
    changed_score: float = Field(description="Of the latter")
    clean_differs: bool = Field(description="Whether the clean picture gets another caption behind it")
    goal_reached: bool = Field(description="Whether the attack still reaches its goal behind it")


class RunView(BaseModel):
    """One arm with one seed on one picture."""

    picture: int = Field(description="Index of the picture")
    arm: str = Field(description="Letter of the search")
    seed: int = Field(description="Of positions and search")
    guided: bool = Field(description="Whether attention said where")
    pixels: int = Field(description="Most pixels that it may change")
    bound: int = Field(description="Most that it may change a channel by")
    success: bool = Field(description="Whether it reached its goal")
    reached: dict[Goal, Reached] = Field(description="The first picture of each goal that was reached")
    clean_score: float = Field(description="Of the clean caption: 1, unless captions differ by themselves")
    score: float = Field(description="Of the picture of the result")
    clean: list[str] = Field(description="Captions of the clean picture")
    captions: list[str] = Field(description="Of the picture of the result")
    distances: DistancesView
    curve: list[ScoreAt] = Field(description="Scores that were better than all before")
    queries: int = Field(description="Pictures that the captioner answered")
    spent: int = Field(description="Of the budget: further tries and defences included")
    generations: int = Field(description="Of the search")
    ended: Ended | Literal["stopped"] = Field(description="Why; `stopped` before its end")
    defences: list[DefenceView] = Field(description="In the order they were tried")

    @property
    def run(self) -> Run:
        """Which run this is."""
        return Run(self.picture, self.arm, self.seed)


def describe_run(run: Run, result: CampaignResult, goal: Goal) -> RunView:
    """A run as its report says it.

    Args:
        run: which.
        result: of its campaign.
        goal: of the attack.
    """
    return RunView(
        picture=run.picture,
        arm=run.arm,
        seed=run.seed,
        guided=result.guided,
        pixels=result.pixels,
        bound=result.bound,
        success=goal in result.reached,
        reached=dict(result.reached),
        clean_score=result.clean_score,
        score=result.score,
        clean=list(result.clean),
        captions=list(result.captions),
        distances=DistancesView.model_validate(result.distances, from_attributes=True),
        curve=[ScoreAt(queries=point.queries, score=point.score) for point in result.curve],
        queries=result.queries,
        spent=result.spent,
        generations=result.generations,
        ended=result.ended or "stopped",
        defences=[],
    )


def describe_defence(tried: DefendedCaptions, goals: SuccessGoals, goal: Goal) -> DefenceView:
    """A defence as the report of a run says it.

    Args:
        tried: what came of it.
        goals: judge captions against the clean ones.
        goal: of the attack.
    """
    return DefenceView(
        defence=tried.defence,
        clean=list(tried.clean),
        changed=list(tried.changed),
        clean_score=tried.clean_score,
        changed_score=tried.changed_score,
        clean_differs="caption_differs" in goals.reached(tried.clean, tried.clean_score),
        goal_reached=goal in goals.reached(tried.changed, tried.changed_score),
    )


class AttackProgress(BaseModel):
    """All that a checkpoint holds of an attack beside the run that is under way.

    Attributes:
        spent: of the budget, but for the run that is under way.
        maps: digests of the attention to each picture; None where there is none.
        pngs: digests of the picture that each run has found.
        models: decoder and encoder of the captioner, once it has answered.
        guides: those of the guide of an endpoint.
        seconds: of earlier attempts.
    """

    spent: int = 0
    pictures: list[PictureView] = Field(default_factory=list)
    maps: list[str | None] = Field(default_factory=list)
    runs: list[RunView] = Field(default_factory=list)
    pngs: list[str] = Field(default_factory=list)
    models: tuple[ModelReference, ModelReference] | None = None
    guides: tuple[ModelReference, ModelReference] | None = None
    seconds: float = 0.0
