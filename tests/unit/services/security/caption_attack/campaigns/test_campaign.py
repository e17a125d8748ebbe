"""One arm on one picture: queries, success, checkpoints, hostile captioners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.security.caption_attack.campaigns.campaign import Campaign, CampaignSettings
from services.security.caption_attack.campaigns.progress import CampaignResult
from services.security.caption_attack.captioners.queries import CAPTION_LIMIT, CaptionTarget
from services.security.caption_attack.pictures.distances import decode_png, measure_distances
from services.security.caption_attack.searching.arms import ARMS, ArmOptions, make_arm
from services.security.caption_attack.searching.evolution import EvolutionSettings
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.problems import BadGateway, Problem, ServiceUnavailable
from tests.unit.services.security.caption_attack.example_captioners import (
    ConstantCaptioner,
    RegionCaptioner,
    SamplingCaptioner,
    attention_on_region,
    noise_picture,
)

PICTURE = noise_picture()
MAPS = attention_on_region()


def campaign(
    captioner: CaptionTarget,
    *,
    key: str = "A",
    budget: QueryBudget | None = None,
    picture: NDArray[np.uint8] = PICTURE,
    maps: NDArray[Any] | None = MAPS,
    pixels: int = 30,
    seed: int = 1,
    evolution: EvolutionSettings | None = None,
    reserve: Any = None,
    **chosen: Any,
) -> Campaign:
    asked: dict[str, Any] = {"queries": 103, **chosen}
    options = ArmOptions(
        pixels=pixels,
        bound=40,
        seed=seed,
        queries=asked["queries"],
        share=0.1,
        evolution=evolution or EvolutionSettings(),
    )
    arm = make_arm(key, picture=picture, attention=maps, options=options)
    budget = budget or QueryBudget(asked["queries"])
    return Campaign(arm, captioner, budget, CampaignSettings(**asked), reserve=reserve)


def finish(one: Campaign) -> CampaignResult:
    for _ in one.run():
        pass
    return one.result()


def comparable(result: CampaignResult) -> dict[str, Any]:
    return asdict(result) | {"picture": result.picture.tobytes()}


@pytest.mark.parametrize(("guided", "unguided"), [("A", "C"), ("E", "D"), ("A", "F")])
def test_attention_beats_any_pixels_at_equal_queries(guided: str, unguided: str) -> None:
    drops: dict[str, list[float]] = {guided: [], unguided: []}
    for seed in range(5):
        for key, found in drops.items():
            result = finish(campaign(RegionCaptioner(PICTURE), key=key, seed=seed))
            assert result.queries == 103
            found.append(result.clean_score - result.score)
    assert min(drops[guided]) > max(drops[unguided])


@pytest.mark.parametrize("generations", [0, 1, 5])
def test_queries_are_one_and_the_population_and_its_trials(generations: int) -> None:
    target, wanted = RegionCaptioner(PICTURE), 1 + 20 + 20 * generations
    chosen = EvolutionSettings(generations=generations)
    result = finish(campaign(target, evolution=chosen, clean_queries=1, queries=500))
    assert (result.queries, result.spent, target.seen, result.evaluations) == (wanted, wanted, wanted, wanted - 1)
    assert target.batches == [1] + [20] * (generations + 1)
    assert result.ended == "finished"


@pytest.mark.parametrize("key", ARMS)
@pytest.mark.parametrize("limit", [1, 2, 3, 22, 23, 57])
def test_a_captioner_never_sees_more_than_its_budget(key: str, limit: int) -> None:
    target, budget = RegionCaptioner(PICTURE), QueryBudget(limit)
    result = finish(campaign(target, key=key, budget=budget, queries=80))
    assert target.seen == budget.spent == result.spent == result.queries <= limit
    assert result.ended in {"budget", "finished"}
    assert target.seen == limit or key == "H"


@pytest.mark.parametrize("key", ARMS)
def test_the_same_seed_gives_the_same_bytes(key: str) -> None:
    ends = []
    for _ in range(2):
        one = campaign(RegionCaptioner(PICTURE), key=key, queries=50)
        ends.append((comparable(finish(one)), one.save()))
    assert ends[0] == ends[1]
    assert ends[0][0]["png"]


@pytest.mark.parametrize("key", ["A", "B", "D", "G", "H", "L", "M", "N", "O", "P"])
def test_a_campaign_resumed_after_any_generation_is_the_same(key: str) -> None:
    whole = campaign(RegionCaptioner(PICTURE), key=key, queries=43)
    saved = [(whole.save(), whole.queries) for _ in whole.run()]
    expected = comparable(whole.result())
    for checkpoint, queries in saved[:: max(1, len(saved) // 8)]:
        target, budget = RegionCaptioner(PICTURE), QueryBudget(43)
        resumed = campaign(target, key=key, budget=budget, queries=43)
        resumed.restore(checkpoint)
        assert resumed.queries == queries == budget.spent
        assert comparable(finish(resumed)) == expected
        assert target.seen == expected["queries"] - queries


def test_a_campaign_against_a_captioner_that_varies_is_resumed_too() -> None:
    whole = campaign(SamplingCaptioner(), queries=66)
    saved = [(whole.save(), whole.queries) for _ in whole.run()]
    assert len(saved) == 4
    for checkpoint, queries in saved:
        target = SamplingCaptioner()
        target.seen = queries
        resumed = campaign(target, queries=66)
        resumed.restore(checkpoint)
        assert comparable(finish(resumed)) == comparable(whole.result())


@pytest.mark.parametrize("key", ["A", "L", "O"])
def test_what_is_found_keeps_its_bounds_in_the_saved_picture(key: str) -> None:
    result = finish(campaign(RegionCaptioner(PICTURE), key=key))
    again = decode_png(result.png)
    assert np.array_equal(again, result.picture)
    assert measure_distances(PICTURE, again) == result.distances
    assert result.distances.l0 <= result.pixels
    assert result.distances.linf <= 40
    assert RegionCaptioner(PICTURE).caption([again]) == list(result.captions)


def test_the_curve_falls_and_says_what_was_best_when() -> None:
    result = finish(campaign(RegionCaptioner(PICTURE)))
    scores, queries = [one.score for one in result.curve], [one.queries for one in result.curve]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores) > 3
    assert queries == sorted(queries)
    assert result.best_after(0).score == result.clean_score
    assert result.best_after(10**6).score == result.score == scores[-1]
    assert result.best_after(queries[1]).score == scores[1]
    assert result.best_after(queries[1] - 1).score == scores[0]


def test_a_campaign_ends_at_the_goal_it_is_told_and_shows_that_picture() -> None:
    result = finish(campaign(RegionCaptioner(PICTURE), stop_at="score_halved"))
    assert result.ended == "success"
    reached = result.reached["score_halved"]
    assert result.score == reached.score <= 0.5 * result.clean_score
    assert reached.queries <= result.queries < 103
    assert RegionCaptioner(PICTURE).caption([result.picture]) == list(reached.captions)
    assert result.reached["caption_differs"].queries <= reached.queries


def test_a_target_word_is_reached() -> None:
    result = finish(campaign(RegionCaptioner(PICTURE), fitness="target_word", target="sleeps", stop_at="target_word"))
    assert result.ended == "success"
    assert "sleeps" in result.captions[0]
    assert result.score == 0


def test_references_are_what_is_compared_with() -> None:
    references = ["a brown dog leaps over the grass", "a dog near trees"]
    result = finish(campaign(RegionCaptioner(PICTURE), references=references))
    assert 0 < result.clean_score < 1
    assert result.score < result.clean_score


def test_a_captioner_that_varies_is_asked_repeatedly_and_charged_for_it() -> None:
    target = SamplingCaptioner()
    result = finish(campaign(target, queries=36, repeats=3))
    assert not result.deterministic
    assert result.repeats == 3
    assert len(result.clean) == 3
    assert target.seen == result.queries == result.spent == 36
    assert result.evaluations == 11
    assert all(len(point.captions) == 3 for point in result.curve)


def test_what_does_not_fit_all_repeats_is_not_asked() -> None:
    target = SamplingCaptioner()
    result = finish(campaign(target, queries=11, repeats=3))
    assert target.seen == result.queries == 9
    assert result.ended == "budget"


def test_pictures_that_are_known_cost_nothing_and_do_not_go_on_for_ever() -> None:
    target = RegionCaptioner(PICTURE)
    result = finish(campaign(target, evolution=EvolutionSettings(weight=0.0), idle_generations=4))
    assert target.seen == result.queries == 3 + 20
    assert result.evaluations == 20 * 5
    assert result.ended == "repeating"


def test_equal_pictures_in_a_batch_are_sent_once() -> None:
    target = ConstantCaptioner("a dog")
    one = campaign(target, picture=np.full((1, 1, 3), 255, np.uint8), maps=None, pixels=1, idle_generations=2)
    result = finish(one)
    assert target.seen == result.queries < result.evaluations


def test_a_campaign_that_stops_early_has_a_valid_result() -> None:
    one = campaign(RegionCaptioner(PICTURE))
    with pytest.raises(ValueError, match="clean picture"):
        one.result()
    one.advance()
    first = one.result()
    assert first.ended is None
    assert np.array_equal(first.picture, PICTURE)
    assert first.distances.l0 == 0
    one.advance()
    assert one.result().queries == 23
    assert one.result().score < first.clean_score


class Interrupted(Exception):
    """Of a test."""


class Breaking:
    """Answers so many batches and then raises, or kills the process that asks."""

    def __init__(self, batches: int, error: Exception) -> None:
        self.inner = RegionCaptioner(PICTURE)
        self._left, self._error = batches, error

    @property
    def seen(self) -> int:
        return self.inner.seen

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        if self._left == 0:
            self.inner.seen += len(pictures)  # seen, and no answer
            raise self._error
        self._left -= 1
        return self.inner.caption(pictures)


def test_answers_before_a_failure_are_not_asked_for_again() -> None:
    one = campaign(Breaking(3, ServiceUnavailable("gone")), batch=8)
    one.advance()
    with pytest.raises(ServiceUnavailable):
        one.advance()
    assert one.queries == 3 + 8 + 8
    assert one.result().spent == 3 + 8 + 8 + 4
    survivor, budget = RegionCaptioner(PICTURE), QueryBudget(103)
    resumed = campaign(survivor, batch=8, budget=budget)
    resumed.restore(one.save())
    resumed.advance()
    assert survivor.batches == [4]
    whole = campaign(RegionCaptioner(PICTURE), batch=8)
    whole.advance()
    whole.advance()
    assert [point.score for point in resumed.result().curve] == [point.score for point in whole.result().curve]
    assert finish(resumed).spent == survivor.seen + 3 + 8 + 8 + 4 == 103


def test_a_killed_campaign_counts_what_was_under_way() -> None:
    saved: list[bytes] = []
    target = Breaking(3, Interrupted())
    killed = campaign(target, budget=QueryBudget(103), reserve=saved.append)
    with pytest.raises(Interrupted):
        finish(killed)
    assert target.seen == 3 + 20 * 3
    budget, survivor = QueryBudget(103), RegionCaptioner(PICTURE)
    resumed = campaign(survivor, budget=budget)
    resumed.restore(saved[-1])
    assert budget.spent == target.seen
    assert resumed.queries == 3 + 20 + 20
    result = finish(resumed)
    assert target.seen + survivor.seen == 103 == result.spent
    assert result.ended == "budget"


def test_a_batch_that_may_not_be_sent_is_not_counted() -> None:
    def refuse(_: bytes) -> None:
        raise Interrupted

    target, budget = RegionCaptioner(PICTURE), QueryBudget(103)
    with pytest.raises(Interrupted):
        finish(campaign(target, budget=budget, reserve=refuse))
    assert (target.seen, budget.spent) == (0, 0)


class Retrying:
    """Spends a further try for each batch, as a target does whose transport fails once."""

    def __init__(self, budget: QueryBudget) -> None:
        self.inner, self._budget = RegionCaptioner(PICTURE), budget

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        self._budget.spend(len(pictures))
        self.inner.seen += len(pictures)
        return self.inner.caption(pictures)


@settings(max_examples=25, deadline=None)
@given(limit=st.integers(1, 70), batch=st.integers(1, 30))
def test_further_tries_count_against_the_budget(limit: int, batch: int) -> None:
    budget = QueryBudget(limit)
    target = Retrying(budget)
    one = campaign(target, budget=budget, queries=60, batch=batch)
    try:
        result = finish(one)
    except BudgetExhausted:  # not even the clean picture has an answer
        assert limit < 6
    else:
        assert result.spent >= 2 * result.queries
    assert target.inner.seen <= budget.spent <= limit


@pytest.mark.parametrize("text", ["", "...", "?!", "the of on"])
@pytest.mark.parametrize("fitness", ["bleu4", "rouge_l", "content_words"])
def test_captions_without_words_or_content(text: str, fitness: str) -> None:
    result = finish(campaign(ConstantCaptioner(text), fitness=fitness, queries=30))
    assert result.clean == (text,) * 3
    assert np.array_equal(result.picture, PICTURE)
    assert not result.reached


@pytest.mark.parametrize("key", ARMS)
@pytest.mark.parametrize("maps", [np.zeros((2, 3, 3)), np.full((1, 2, 2), np.nan), None])
def test_attention_that_says_nothing(key: str, maps: NDArray[np.float64] | None) -> None:
    result = finish(campaign(RegionCaptioner(PICTURE), key=key, maps=maps, queries=25))
    assert not result.guided
    assert result.distances.l0 <= result.pixels


class Wrong:
    """Answers something that is not a caption of each picture."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        answer: list[str] = self._answer
        return answer


@pytest.mark.parametrize("answer", [[], ["a", "b"], [None, 1, 2]])
def test_answers_that_are_no_captions_are_the_captioners_fault(answer: Any) -> None:
    with pytest.raises(BadGateway, match="The captioner gave"):
        finish(campaign(Wrong(answer)))


def test_endless_captions_are_cut() -> None:
    result = finish(campaign(ConstantCaptioner("dog " * 5000), queries=4))
    assert len(result.clean[0]) == CAPTION_LIMIT


def test_a_checkpoint_of_another_campaign_is_refused() -> None:
    one = campaign(RegionCaptioner(PICTURE))
    one.advance()
    for other in (
        campaign(RegionCaptioner(PICTURE), seed=2),
        campaign(RegionCaptioner(PICTURE), key="B"),
        campaign(RegionCaptioner(PICTURE), fitness="rouge_l"),
        campaign(RegionCaptioner(PICTURE), picture=noise_picture(seed=9)),
    ):
        with pytest.raises(ValueError, match="another campaign"):
            other.restore(one.save())
    for damaged in (b"", b"nothing", one.save()[:-40]):
        with pytest.raises(ValueError, match="no checkpoint"):
            one.restore(damaged)


def test_nothing_is_asked_without_a_budget() -> None:
    target = RegionCaptioner(PICTURE)
    with pytest.raises(Problem, match="budget"):
        finish(campaign(target, budget=QueryBudget(0)))
    assert target.seen == 0


@pytest.mark.parametrize("wrong", [{"queries": 0}, {"repeats": 0}, {"fitness": "target_word"}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needed|1 or more"):
        CampaignSettings(**{"queries": 5, **wrong})
