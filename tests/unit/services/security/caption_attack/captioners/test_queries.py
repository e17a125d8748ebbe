"""Captions are asked for once, and counted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.security.caption_attack.captioners.queries import CaptionQueries, picture_key
from shared.fleet.budget import BudgetExhausted, QueryBudget
from tests.unit.services.security.caption_attack.example_captioners import ConstantCaptioner, noise_picture

A, B, C, D = (noise_picture(3, 4, seed=seed) for seed in range(4))


def batch(*pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack(pictures)


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 20])
def test_each_answer_says_how_many_queries_there_were_up_to_it(repeats: int, size: int) -> None:
    target = ConstantCaptioner("a dog")
    queries = CaptionQueries(target, QueryBudget(100), batch=size)
    queries.repeats = repeats
    assert [answer.queries for answer in queries.ask(batch(A, B, A, C, B))] == [
        repeats * count for count in (1, 2, 2, 3, 3)
    ]
    assert [answer.queries for answer in queries.ask(batch(C, D, A))] == [repeats * count for count in (3, 4, 4)]
    assert target.seen == queries.queries == queries.budget.spent == 4 * repeats
    assert queries.evaluations == 8


def test_what_is_remembered_is_not_asked_for() -> None:
    target = ConstantCaptioner("a dog")
    queries = CaptionQueries(target, QueryBudget(100))
    queries.remember(A, ("a cat",))
    assert [answer.captions for answer in queries.ask(batch(A, B))] == [("a cat",), ("a dog",)]
    assert target.seen == 1


@pytest.mark.parametrize(("limit", "answered"), [(0, 0), (1, 1), (2, 3), (3, 4)])
def test_the_first_pictures_are_answered_where_the_budget_ends(limit: int, answered: int) -> None:
    queries = CaptionQueries(ConstantCaptioner("a dog"), QueryBudget(limit))
    assert len(queries.ask(batch(A, B, A, C, B, D)[:4])) == answered
    assert queries.budget.spent == limit


def test_all_or_none_are_asked_anyway() -> None:
    target = ConstantCaptioner("a dog")
    queries = CaptionQueries(target, QueryBudget(3), batch=2)
    with pytest.raises(BudgetExhausted):
        queries.ask_anyway([A] * 4)
    assert target.seen == 0
    assert queries.ask_anyway([A] * 3) == ("a dog",) * 3


def test_the_key_of_a_picture_is_of_its_pixels_and_its_size() -> None:
    assert picture_key(A) == picture_key(A.copy())
    assert picture_key(A) == picture_key(np.asfortranarray(A))
    assert picture_key(A) != picture_key(A.reshape(4, 3, 3))
    assert picture_key(A) != picture_key(B)
