"""What a campaign evaluates, what it costs, and what is said of one that is too large."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from services.security.bit_error_campaigns.outlines import LayerOutline, Outline, Timing
from services.security.bit_error_campaigns.plan import CostLimits, conditions, cost_of, excess
from services.security.bit_error_campaigns.schemas import (
    CampaignOptions,
    parse_analyses,
    parse_rates,
    parse_seeds,
)

LAYERS = ["first", "second", "third"]
LIMITS = CostLimits(evaluations=10_000, networks=1000, seconds=100.0, picture_bytes=1_000_000)


def options(**changes: Any) -> CampaignOptions:
    values: dict[str, Any] = {
        "rates": (0.001, 0.01),
        "seeds": (50_000, 50_001, 50_002, 50_003),
        "fault": "stuck_at",
        "layout": "tiled",
        "analyses": ("curve", "layers", "bits"),
        "analysis_rate": 0.02,
        "analysis_seeds": (1, 2),
        "images": None,
        "execution": "auto",
    }
    return CampaignOptions(**(values | changes))


def outline() -> Outline:
    layers = [
        LayerOutline(name=one, operator="Conv", weights=10, dtype="float32", bytes_of_graph=False) for one in LAYERS
    ]
    return Outline(
        input="x",
        output="y",
        dtype="float32",
        shape=["batch", 3, 8, 8],
        classes=4,
        layers=layers,
        computed_layers=[],
        timing=Timing(perturb_s=0.01, load_s=0.04, batch_s=0.1, batch=20),
    )


@pytest.mark.parametrize("analyses", [("curve",), ("layers", "bits"), ("curve", "layers", "bits")])
def test_the_cost_counts_the_conditions(analyses: tuple[str, ...]) -> None:
    chosen = options(analyses=analyses)
    cost = cost_of(chosen, outline(), pictures=50, picture_bytes=100)
    planned = conditions(chosen, LAYERS)
    assert cost.networks == Counter(one.analysis for one in planned)
    assert cost.evaluations == 50 * len(planned)
    assert cost.seconds == pytest.approx(len(planned) * (0.05 + 50 / 20 * 0.1))
    assert len(set(planned)) == len(planned)


def test_the_first_networks_are_the_baselines_and_each_seed_covers_every_rate() -> None:
    planned = conditions(options(), LAYERS)
    assert [one.stored for one in planned[:2]] == [False, True]
    assert [(one.rate, one.seed) for one in planned[2:6]] == [
        (0.001, 50_000), (0.01, 50_000), (0.001, 50_001), (0.01, 50_001),
    ]  # fmt: skip
    assert {one.rate for one in planned if one.analysis in {"layers", "bits"}} == {0.02}
    assert str(planned[-1]) == "bit 7, seed 2"


def test_too_many_evaluations_say_how_many_pictures_fit() -> None:
    detail = excess(cost_of(options(), outline(), pictures=1000, picture_bytes=10), LIMITS)
    assert detail is not None
    assert "32,000 evaluations" in detail
    assert "Set `images` to about 312" in detail
    fitting = cost_of(options(), outline(), pictures=312, picture_bytes=10)
    assert excess(fitting, LIMITS) is None


def test_too_long_says_what_adds_the_most_networks() -> None:
    slow = CostLimits(evaluations=10**9, networks=1000, seconds=1.0, picture_bytes=10**9)
    detail = excess(cost_of(options(seeds=(1,)), outline(), pictures=100, picture_bytes=1), slow)
    assert detail is not None
    assert "`analyses` without bits" in detail


def test_pictures_that_fill_the_memory_say_how_many_fit() -> None:
    detail = excess(cost_of(options(analyses=("bits",)), outline(), pictures=100, picture_bytes=20_000), LIMITS)
    assert detail is not None
    assert "set `images` to at most 50" in detail


def test_cells_that_are_drawn_one_by_one_are_limited() -> None:
    many = outline().model_copy(update={"layers": [outline().layers[0].model_copy(update={"weights": 10**7})]})
    for layout, refused in (("tiled", False), ("iid", True)):
        chosen = options(layout=layout, rates=(0.3,), analyses=("curve",))
        assert (excess(cost_of(chosen, many, pictures=1, picture_bytes=1), LIMITS) is not None) == refused


def test_many_networks_are_counted_without_making_them() -> None:
    cost = cost_of(options(seeds=tuple(range(10**6))), outline(), pictures=1, picture_bytes=1)
    assert "at most 1,000 networks" in (excess(cost, LIMITS) or "")


def test_rates_seeds_and_analyses_are_read() -> None:
    assert parse_rates("0.01, 1e-4,0.01") == (0.0001, 0.01)
    assert parse_seeds("3") == (50_000, 50_001, 50_002)
    assert parse_seeds("7-9,3,8") == (7, 8, 9, 3)
    assert parse_analyses("bits,curve") == ("curve", "bits")


@pytest.mark.parametrize(
    "text", ["", "0", "-0.1", "1.1", "inf", "0.1,,0.2", ",".join(["0.1"] + [f"0.{n}" for n in range(100, 160)])]
)
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|numbers"):
        parse_rates(text)


@pytest.mark.parametrize("text", ["", "0", "1001", "5-", "4294967295-4294967295", "0-999,1000-1999", "1.5"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"seed"):
        parse_seeds(text)
