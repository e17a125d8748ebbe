"""What captions are scored by, and when an attack counts as a success."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from services.security.caption_attack.searching.content_words import (
    content_words,
    cosine_of_content,
    inverse_document_frequencies,
    singular,
)
from services.security.caption_attack.searching.objectives import Fitness, Objective, SuccessGoals, target_word_of

CLEAN = "Two brown dogs are running on the green grass ."
TEXTS = st.text("ab 's.-!_é犬0\n\x00", max_size=40)
FITNESSES: tuple[Fitness, ...] = ("bleu4", "rouge_l", "content_words")


def goals(clean: str = CLEAN, *, clean_score: float = 1.0, target: str | None = None) -> SuccessGoals:
    return SuccessGoals(clean=[clean], clean_score=clean_score, target=target)


def test_content_words_leave_out_function_words_digits_and_plurals() -> None:
    assert content_words("Two Dogs aren't in the 3 puddles, they're on a bench's top!") == [
        "dog",
        "puddle",
        "bench",
        "top",
    ]
    assert [singular(word) for word in ("ponies", "horses", "grass", "bus", "men", "shoes", "beaches", "is")] == [
        "pony",
        "horse",
        "grass",
        "bus",
        "man",
        "shoe",
        "beach",
        "is",
    ]


def test_bleu_is_smoothed_as_lin_and_och_have_it() -> None:
    # 3 of 4 words, (1 + 1) / (3 + 1) pairs, (0 + 1) / (2 + 1) triples, (0 + 1) / (1 + 1) quadruples
    objective = Objective(references=["a dog jumps high"])
    assert objective.score("a dog runs high") == pytest.approx((3 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25)


def test_rouge_is_f1() -> None:
    objective = Objective(fitness="rouge_l", references=["a dog runs on grass"])
    assert objective.score("a dog") == pytest.approx(2 * 1 * 0.4 / 1.4)


def test_cosine_is_that_of_scikit_learn() -> None:
    weights = {"dog": 1.5, "cat": 2.0, "grass": 1.0, "brown": 3.0}
    mine = [[2 * 1.5, 0, 1.0, 0]]
    theirs = [[1.5, 2.0, 0, 3.0]]
    found = cosine_of_content("a dog and a dog on grass", "brown cat, dog", weights)
    assert found == pytest.approx(float(cosine_similarity(mine, theirs)[0, 0]))


def test_a_word_without_a_weight_weighs_as_much_as_the_rarest() -> None:
    weights = {"dog": 1.0, "axolotl": 4.0}
    assert cosine_of_content("dog zebra", "zebra", weights) == pytest.approx(4 / math.hypot(1, 4))


def test_inverse_document_frequencies_count_pictures_once() -> None:
    weights = inverse_document_frequencies([["a dog", "dogs run"], ["a cat"]])
    assert weights["dog"] == pytest.approx(math.log(3 / 2) + 1)
    assert weights.keys() == {"dog", "run", "cat"}


def test_a_target_word_scores_zero_once_it_is_there() -> None:
    objective = Objective(fitness="target_word", references=[CLEAN], target="cat")
    assert objective.score("a cat on grass") == 0
    assert objective.score(CLEAN) == pytest.approx(1)
    assert 0.5 <= objective.score("something else") < 0.7


@pytest.mark.parametrize("fitness", FITNESSES)
@settings(max_examples=60, deadline=None)
@given(caption=TEXTS, references=st.lists(TEXTS, min_size=1, max_size=3))
def test_scores_are_shares_of_any_text(fitness: Fitness, caption: str, references: list[str]) -> None:
    assert 0 <= Objective(fitness=fitness, references=references).score(caption) <= 1 + 1e-9


@pytest.mark.parametrize("fitness", FITNESSES)
@pytest.mark.parametrize("caption", ["", "...!", "?! ,"])
def test_captions_without_words_have_lost_everything(fitness: Fitness, caption: str) -> None:
    assert Objective(fitness=fitness, references=[CLEAN]).score(caption) == 0
    assert goals().reached([caption], 0.0) == {"caption_differs", "content_lost", "score_halved"}


@pytest.mark.parametrize("fitness", FITNESSES)
def test_the_clean_caption_has_the_whole_score(fitness: Fitness) -> None:
    assert Objective(fitness=fitness, references=[CLEAN]).score(CLEAN) == pytest.approx(1)


def test_an_objective_needs_what_it_compares_with() -> None:
    with pytest.raises(ValueError, match="reference"):
        Objective(references=[])
    with pytest.raises(ValueError, match="target"):
        Objective(fitness="target_word", references=[CLEAN])


def test_case_and_punctuation_are_no_difference() -> None:
    assert goals().reached(["two brown dogs are running on the green grass"], 1.0) == frozenset()
    assert "caption_differs" in goals().reached(["two brown dogs are running on green grass"], 0.9)


def test_a_plural_is_the_same_content() -> None:
    assert "content_lost" not in goals().reached(["a dog"], 0.2)
    assert "content_lost" in goals().reached(["a man in two of them"], 0.2)


def test_a_clean_caption_without_content_cannot_lose_it() -> None:
    assert "content_lost" not in goals("on the .").reached(["a cat"], 0.0)


def test_a_score_halves_relative_to_the_clean_one() -> None:
    assert "score_halved" in goals(clean_score=0.4).reached([CLEAN], 0.2)
    assert "score_halved" not in goals(clean_score=0.4).reached([CLEAN], 0.21)
    assert "score_halved" not in goals(clean_score=0.0).reached([CLEAN], 0.0)


def test_a_target_that_is_there_already_is_no_success() -> None:
    assert "target_word" in goals(target="cat").reached(["a cat"], 0.0)
    assert "target_word" not in goals(target="grass").reached(["green grass"], 0.0)
    assert "target_word" not in goals().reached(["a cat"], 0.0)


def test_of_several_captions_more_than_half_must_reach_a_goal() -> None:
    cat = "a cat"
    assert "content_lost" not in goals().reached([cat, CLEAN], 0.9)
    assert "content_lost" in goals().reached([cat, cat, CLEAN], 0.9)


def test_all_clean_captions_count() -> None:
    both = SuccessGoals(clean=["a dog", "a cat"], clean_score=1.0)
    assert both.reached(["a cat"], 0.9) == frozenset()
    assert both.reached(["one cat"], 0.9) == {"caption_differs"}


def test_a_target_is_one_word() -> None:
    assert target_word_of(" Cat. ") == "cat"
    for text in ("", "!", "a cat"):
        with pytest.raises(ValueError, match="one word"):
            target_word_of(text)
