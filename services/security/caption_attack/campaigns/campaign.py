"""Runs one arm on one picture, generation by generation.

    campaign = Campaign(arm, target, budget, settings)
    if saved is not None:
        campaign.restore(saved)
    for _ in campaign.run():
        context.checkpoint(campaign.save())
    result = campaign.result()

A campaign that is not advanced any further has a valid result all the same. After `restore` no picture that was
answered is asked about again, and the rest is as if there had been no break.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.caption_attack.campaigns.checkpoints import pack, unpack
from services.security.caption_attack.campaigns.progress import CampaignResult, CurvePoint, Ended, Progress, Reached
from services.security.caption_attack.captioners.queries import Answer, CaptionQueries, CaptionTarget
from services.security.caption_attack.pictures.distances import encode_exactly, measure_distances
from services.security.caption_attack.searching.arms import Arm
from services.security.caption_attack.searching.objectives import Fitness, Goal, Objective, SuccessGoals
from services.security.caption_attack.searching.perturbations import Genes
from shared.fleet.budget import BudgetExhausted, QueryBudget

_SEARCH: Final = "search."
_REACHED: Final = "reached."
_BEST: Final = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSettings:
    """What is asked of a campaign.

    Attributes:
        queries: of the captioner at most, clean ones included, further tries not: the same for arms that are compared.
            The budget may end sooner.
        fitness: what is made small.
        references: captions that are right; None to compare with the clean caption.
        weights: of content words, for that fitness.
        target: a word, as `target_word_of` has it.
        stop_at: the goal after which it ends; None to spend all queries.
        clean_queries: how often the clean picture is asked about, to see whether captions differ.
        repeats: captions of each picture if they do, each of which counts.
        batch: most pictures that are sent at once.
        idle_generations: without a picture that is new, after which it ends.
    """

    queries: int
    fitness: Fitness = "bleu4"
    references: Sequence[str] | None = None
    weights: Mapping[str, float] | None = None
    target: str | None = None
    stop_at: Goal | None = None
    clean_queries: int = 3
    repeats: int = 3
    batch: int = 20
    idle_generations: int = 50

    def __post_init__(self) -> None:
        if min(self.queries, self.clean_queries, self.repeats, self.batch, self.idle_generations) < 1:
            raise ValueError("queries, clean_queries, repeats, batch and idle_generations are 1 or more")
        if "target_word" in (self.fitness, self.stop_at) and self.target is None:
            raise ValueError("a target word is needed")


class Campaign:
    """One arm on one picture.

    Args:
        arm: at its beginning; its search is changed.
        target: the captioner.
        budget: of pictures that the captioner may see; of nobody else while the campaign is advanced.
        settings: of the campaign.
        reserve: called with a checkpoint before each batch is sent, which counts it as seen; for those who must hold
            the budget even if they are killed. If it raises, the batch is not sent.
    """

    def __init__(
        self,
        arm: Arm,
        target: CaptionTarget,
        budget: QueryBudget,
        settings: CampaignSettings,
        *,
        reserve: Callable[[bytes], None] | None = None,
    ) -> None:
        self.arm, self.settings = arm, settings
        before_send = None if reserve is None else lambda: reserve(self.save())
        self._queries = CaptionQueries(target, budget, batch=settings.batch, reserve=before_send)
        self._budget, self._spent_before = budget, budget.spent
        self._progress = Progress(identity=_identity(arm, settings))
        self._genes: dict[str, Genes] = {}
        self._objective: Objective | None = None
        self._goals: SuccessGoals | None = None

    @property
    def ended(self) -> Ended | None:
        """Why it has ended, if it has."""
        return self._progress.ended

    @property
    def queries(self) -> int:
        """Pictures that were answered."""
        return self._queries.queries

    @property
    def spent(self) -> int:
        """Of the budget, further tries of the target included."""
        return self._budget.spent - self._spent_before

    @property
    def best_score(self) -> float:
        """The lowest so far; that of the clean picture at first."""
        curve = self._progress.curve
        return curve[-1].score if curve else self._progress.clean_score

    def run(self) -> Iterator[Progress]:
        """Advance to the end; after each generation there is a checkpoint to be saved.

        Raises:
            Problem: as `advance`.
        """
        while self.ended is None:
            self.advance()
            yield self._progress

    def advance(self) -> None:
        """Ask about the clean picture, or about one generation.

        Raises:
            BudgetExhausted: there is none even for the clean picture.
            Problem: the captioner's; the campaign can be advanced again, saved, or left.
        """
        if self.ended is not None:
            return
        if not self._progress.clean:
            self._ask_clean()
            return
        room = min(self.settings.queries - self.queries, self._budget.left) // self._queries.repeats
        search = self.arm.search
        if search.finished:
            self._progress.ended = "stalled" if search.is_stalled else "finished"
        elif room < 1:
            self._progress.ended = "budget"
        else:
            self._ask_generation(search.ask(room))

    def _ask_clean(self) -> None:
        count = min(self.settings.clean_queries, self.settings.queries, self._budget.left)
        if count < 1:
            raise BudgetExhausted("The budget does not allow to ask about the clean picture.")
        picture, progress = self.arm.space.picture, self._progress
        progress.clean = self._queries.ask_anyway([picture] * count)
        objective = self._prepare()
        progress.clean_score = objective.mean_score(progress.clean)
        self._prepare()
        self._queries.repeats = 1 if len(set(progress.clean)) == 1 else self.settings.repeats
        if self._queries.repeats == 1:
            self._queries.remember(picture, progress.clean[:1])
        progress.curve = [CurvePoint(queries=self.queries, score=progress.clean_score, captions=progress.clean)]

    def _prepare(self) -> Objective:
        """Objective and goals, which the clean captions define."""
        settings, clean = self.settings, self._progress.clean
        self._objective = Objective(
            fitness=settings.fitness,
            references=settings.references or clean,
            weights=settings.weights,
            target=settings.target,
        )
        self._goals = SuccessGoals(clean=clean, clean_score=self._progress.clean_score, target=settings.target)
        return self._objective

    def _ask_generation(self, genes: Genes) -> None:
        before = self.queries
        answers = self._queries.ask(self.arm.space.render(genes))
        if not answers:
            self._progress.ended = "budget"
            return
        scores = np.array([self._judge(row, answer) for row, answer in zip(genes, answers, strict=False)])
        self.arm.search.tell(genes[: len(answers)], scores)
        progress = self._progress
        progress.generations += 1
        progress.idle = 0 if self.queries > before else progress.idle + 1
        if self.settings.stop_at in progress.reached:
            progress.ended = "success"
        elif progress.idle >= self.settings.idle_generations:
            progress.ended = "repeating"

    def _judge(self, genes: Genes, answer: Answer) -> float:
        """Score of a picture; what is best or first of its kind is recorded."""
        assert self._objective is not None  # noqa: S101 - the clean picture was asked about
        assert self._goals is not None  # noqa: S101
        score = self._objective.mean_score(answer.captions)
        curve, reached = self._progress.curve, self._progress.reached
        if score < curve[-1].score:
            curve.append(CurvePoint(queries=answer.queries, score=score, captions=answer.captions))
            self._genes[_BEST] = genes.copy()
        for goal in sorted(self._goals.reached(answer.captions, score) - reached.keys()):
            reached[goal] = Reached(queries=answer.queries, score=score, captions=answer.captions)
            self._genes[_REACHED + goal] = genes.copy()
        return score

    def save(self) -> bytes:
        """A checkpoint, from which a campaign of the same arm and settings can be restored."""
        queries = self._queries
        progress = self._progress.model_copy(
            update={
                "answers": queries.answers,
                "evaluations": queries.evaluations,
                "queries": queries.queries,
                "repeats": queries.repeats,
                "spent": self.spent,
            }
        )
        search = {_SEARCH + name: array for name, array in self.arm.search.state().items()}
        return pack(progress.model_dump_json().encode(), {**self._genes, **search})

    def restore(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint; what it says was spent is taken from the budget.

        Raises:
            ValueError: it is of another arm, picture or settings, or damaged.
            BudgetExhausted: the budget is smaller than what was spent.
        """
        document, arrays = unpack(checkpoint)
        progress = Progress.model_validate_json(document)
        if progress.identity != self._progress.identity:
            raise ValueError("this checkpoint is of another campaign")
        self._budget.spend(progress.spent)
        self._progress = progress
        self._genes = {name: array for name, array in arrays.items() if not name.startswith(_SEARCH)}
        self.arm.search.restore(
            {name.removeprefix(_SEARCH): array for name, array in arrays.items() if name.startswith(_SEARCH)}
        )
        queries = self._queries
        queries.answers, queries.repeats = dict(progress.answers), progress.repeats
        queries.evaluations, queries.queries = progress.evaluations, progress.queries
        if progress.clean:
            self._prepare()

    def result(self) -> CampaignResult:
        """What it has found so far.

        Raises:
            ValueError: the clean picture has not been asked about.
        """
        progress, arm = self._progress, self.arm
        if not progress.clean:
            raise ValueError("a campaign has a result once the clean picture has a caption")
        picture, found = self._found()
        deterministic = len(set(progress.clean)) == 1
        return CampaignResult(
            arm=arm.kind.key,
            title=arm.kind.title,
            sparse=arm.space.sparse,
            guided=arm.positions is not None and arm.positions.guided,
            pixels=arm.pixels,
            bound=arm.bound,
            seed=arm.options.seed,
            clean=progress.clean,
            deterministic=deterministic,
            repeats=self._queries.repeats,
            clean_score=progress.clean_score,
            picture=picture,
            png=encode_exactly(picture),
            captions=found.captions,
            score=found.score,
            distances=measure_distances(arm.space.picture, picture),
            reached=dict(progress.reached),
            curve=list(progress.curve),
            evaluations=self._queries.evaluations,
            queries=self.queries,
            spent=self.spent,
            generations=progress.generations,
            ended=progress.ended,
        )

    def _found(self) -> tuple[NDArray[np.uint8], CurvePoint | Reached]:
        """The picture that the result is about."""
        goal, progress = self.settings.stop_at, self._progress
        if goal is not None and goal in progress.reached:
            return self._render(_REACHED + goal), progress.reached[goal]
        return self._render(_BEST), progress.curve[-1]

    def _render(self, name: str) -> NDArray[np.uint8]:
        space = self.arm.space
        return space.render(self._genes[name][None])[0] if name in self._genes else space.picture


def _identity(arm: Arm, settings: CampaignSettings) -> str:
    """Of all that the course of a campaign depends on besides the captions."""
    asked: dict[str, Any] = asdict(settings) | {"arm": arm.identity}
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
