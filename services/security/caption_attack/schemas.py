"""What the routes of caption attacks take and give."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.security.caption_attack.campaigns.defences import DEFENCES, Defence
from services.security.caption_attack.campaigns.options import AttackOptions
from services.security.caption_attack.searching.arms import ARMS
from services.security.caption_attack.searching.objectives import Goal, target_word_of
from shared.http.route_parts import File, checked_by
from shared.jobs.files import StoredFile

PICTURES_LIMIT: Final = 32
"""Most pictures of one request."""

MOST_SEEDS: Final = 20
NO_DEFENCES: Final = "none"


def parse_arms(text: str) -> tuple[str, ...]:
    """Letters of arms out of a list with commas, each once.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    letters = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",")))
    if unknown := [one for one in letters if one not in ARMS]:
        known = "; ".join(f"{kind.key}: {kind.title}" for kind in ARMS.values())
        raise ValueError(f"{unknown[0][:20]!r} is no arm. Give letters with commas between them. {known}.")
    return letters


def parse_defences(text: str) -> tuple[Defence, ...]:
    """Names of defences out of a list with commas, each once; `none` for none.

    Raises:
        ValueError: one is unknown.
    """
    names = dict.fromkeys(part.strip() for part in text.split(","))
    if list(names) == [NO_DEFENCES]:
        return ()
    if unknown := [one for one in names if one not in DEFENCES]:
        raise ValueError(f"{unknown[0][:40]!r} is no defence: give some of {', '.join(DEFENCES)}, or {NO_DEFENCES}.")
    return tuple(one for one in DEFENCES if one in names)


class AttackForm(BaseModel):
    """Multipart form of POST /v1/security/caption-attacks."""

    model_config = ConfigDict(extra="forbid")

    file: list[File] = Field(
        min_length=1, max_length=PICTURES_LIMIT, description="Pictures whose captions are attacked: PNG, JPEG or WebP"
    )
    model: str | None = Field(
        default=None, max_length=64, description="A captioner of the fleet to test; its default one unless given"
    )
    endpoint: str | None = Field(
        default=None,
        max_length=64,
        description="A captioner elsewhere to test, in place of `model`, by the name under which the operator of this "
        "fleet has registered it (`/v1/security/caption-endpoints`)",
    )
    guide: str | None = Field(
        default=None,
        max_length=64,
        description="Captioner of the fleet whose attention says where pixels of a picture for an `endpoint` are "
        "changed, since endpoints say no attention; its default one unless given. A `model` is its own guide",
    )
    beams: int = Field(default=1, ge=1, le=10, description="Beams of a `model`'s search; with 1 it is the quickest")
    most_words: int = Field(default=20, ge=1, le=60, description="Longest caption of a `model`")
    goal: Goal = Field(
        default="content_lost",
        description="What counts as a success. `content_lost`: no noun, verb or other content word of the clean "
        "caption survives; `score_halved`: its BLEU-4 with the clean caption drops by half; `caption_differs`: any "
        "other word; `target_word`: a word that you name appears",
    )
    target: str | None = Field(
        default=None, max_length=40, description="The word that is to appear, for the goal `target_word`"
    )
    arms: Annotated[str, checked_by(parse_arms)] = Field(
        default="A,C,N",
        max_length=100,
        description="Searches that are compared at the same number of queries, letters with commas: "
        + "; ".join(f"{kind.key}: {kind.title}" for kind in ARMS.values()),
    )
    queries: int = Field(
        default=200, ge=1, le=100_000, description="Pictures that each arm may show the captioner, per picture and seed"
    )
    budget: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Most pictures that the captioner is shown in all, further tries and defences included; never "
        "exceeded. What the attack needs unless given, and for an `endpoint` a tenth more for further tries",
    )
    pixels_percent: float = Field(
        default=0.75, gt=0, le=100, description="Share of a picture's pixels that may change, in percent"
    )
    bound: int = Field(default=40, ge=1, le=255, description="Most by which a channel of a pixel may change, of 255")
    first_seed: int = Field(default=0, ge=0, le=2**31, description="First seed of positions and searches")
    seeds: int = Field(default=1, ge=1, le=MOST_SEEDS, description="How often each arm runs, each time with a new seed")
    stop_at_goal: bool = Field(
        default=True, description="Whether a run ends at its first success; else it spends all its queries"
    )
    defences: Annotated[str, checked_by(parse_defences)] = Field(
        default=",".join(DEFENCES),
        max_length=100,
        description=f"Filters that what was found is tried behind, with commas, or `{NO_DEFENCES}`",
    )
    probes: int = Field(
        default=3,
        ge=1,
        le=10,
        description="How often the clean picture is shown, to see whether captions differ by themselves; if they do, "
        "each picture is shown as often",
    )
    longest_side: int = Field(
        default=256, ge=16, le=640, description="Larger pictures are scaled down to this before they are attacked"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.endpoint is not None and self.model is not None:
            raise ValueError("Name either a `model` of the fleet or an `endpoint`, not both.")
        if self.guide is not None and self.endpoint is None:
            raise ValueError("A `guide` is for an `endpoint`; a `model` is its own guide. Leave it out.")
        if (self.goal == "target_word") != (self.target is not None):
            raise ValueError("The goal `target_word` and the field `target` come together.")
        if self.target is not None:
            target_word_of(self.target)
        return self

    def options(self) -> AttackOptions:
        """The options, parsed."""
        values = self.model_dump(exclude={"file"})
        parsed = {
            "arms": parse_arms(self.arms),
            "defences": parse_defences(self.defences),
            "target": None if self.target is None else target_word_of(self.target),
        }
        return AttackOptions.model_validate(values | parsed)


class AttackTask(BaseModel):
    """Arguments of the job."""

    options: AttackOptions
    pictures: list[str] = Field(description="Digests of the pictures")
    budget: int


class EndpointView(BaseModel):
    """A captioner that the operator has registered."""

    name: str = Field(description="What `endpoint` of an attack says")
    owner: str = Field(description="Who owns the captioner")
    ownership: str = Field(description="The owner's statement that it may be tested, which the audit log repeats")
    queries_per_s: float = Field(description="Most pictures that it is shown in a second")
    concurrency: int = Field(description="Most pictures that are under way")


class EndpointsAnswer(BaseModel):
    """Captioners that the operator has registered."""

    endpoints: list[EndpointView] = Field(description="By name")


class CostPart(BaseModel):
    """Queries of one kind."""

    purpose: Literal["probes", "attention", "searches", "defences"] = Field(description="What they are for")
    queries: int = Field(description="Pictures that the captioner is shown")


class AttackCost(BaseModel):
    """What an attack costs at most; a run that stops at its goal costs less."""

    pictures: int = Field(description="That are attacked")
    runs: int = Field(description="Pictures times arms times seeds")
    parts: list[CostPart] = Field(description="Where queries come from")
    queries: int = Field(description="Their sum")
    budget: int = Field(description="That the attack may not exceed")
    seconds_at_least: float | None = Field(description="By the rate of an endpoint; null for a model of the fleet")
    queries_limit: int = Field(description="Most queries of an attack here")
    accepted: bool = Field(description="Whether the attack would be accepted")
    advice: str | None = Field(description="What to lower; null: nothing")


class AttackResult(BaseModel):
    """Result of the job."""

    report: dict[str, Any] = Field(description="The report, as in report.json")
    files: dict[str, StoredFile] = Field(description="report.json, report.html, curve.png, and pictures of each run")

    def as_json(self) -> dict[str, Any]:
        """As jobs keep it."""
        return self.model_dump(mode="json")
