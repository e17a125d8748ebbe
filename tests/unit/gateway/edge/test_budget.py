from __future__ import annotations

from gateway.request_bodies.budget import ByteBudget


def test_what_is_reserved_is_counted_until_it_is_released() -> None:
    budget = ByteBudget(10)
    assert budget.reserve(4)
    assert budget.reserve(6)
    assert budget.used == 10
    budget.release(4)
    assert budget.used == 6


def test_what_is_too_much_is_not_counted() -> None:
    budget = ByteBudget(10)
    assert budget.reserve(7)
    assert not budget.reserve(4)
    assert budget.used == 7
    assert budget.reserve(3)


def test_nothing_fits_even_where_nothing_is_allowed() -> None:
    budget = ByteBudget(0)
    assert budget.reserve(0)
    assert not budget.reserve(1)
