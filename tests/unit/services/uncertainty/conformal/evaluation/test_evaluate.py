"""The measurements at a small size, on the real tables; what other libraries answered, as it was written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from services.uncertainty.conformal.evaluation import (
    communities,
    evaluate_online,
    evaluate_regression,
    published_tables,
)
from services.uncertainty.conformal.evaluation.airfoil import fit_line, predict_line, summary
from services.uncertainty.conformal.evaluation.reference_comparison import regression
from shared.settings import get_settings


@pytest.fixture(scope="module")
def data() -> Path:
    folder = get_settings().data
    if not (folder / published_tables.FOLDER).is_dir():
        pytest.skip(f"no tables in {folder}")
    return folder


@pytest.mark.data
def test_tables_have_the_published_sizes(data: Path) -> None:
    sizes = {"airfoil": (1503, 5), "communities": (1994, 100), "wind": (13847, 26), "beijing_air": (30004, 30)}
    for name, shape in sizes.items():
        table = getattr(published_tables, name)(data)
        assert table.inputs.shape == shape
        assert table.targets.shape == shape[:1]
        assert np.isfinite(table.inputs).all()
        assert np.isfinite(table.targets).all()


@pytest.mark.data
def test_series_see_only_what_came_before(data: Path) -> None:
    wind = published_tables.wind(data)
    np.testing.assert_array_equal(wind.inputs[1:, published_tables.LAGS - 1], wind.targets[:-1])
    np.testing.assert_array_equal(wind.inputs[published_tables.LAGS :, 0], wind.targets[: -published_tables.LAGS])


@pytest.mark.data
def test_regression_is_near_its_published_figures(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn comes with the train extra")
    monkeypatch.setattr(communities, "TREES", 30)
    result = evaluate_regression.measure(data, airfoil_repeats=120, communities_repeats=3)
    json.dumps(result, allow_nan=False)
    for figures in result["airfoil"]["ways"].values():
        found, published = figures["coverage"], figures["published"]["coverage"]
        assert abs(found["mean"] - published) < 4 * found["error"]
        assert abs(figures["length"]["mean"] - figures["published"]["length"]) < 4 * figures["length"]["error"]
    assert 0.86 < result["communities"]["ways"]["CQR"]["coverage"]["mean"] < 0.95
    page = "\n".join(evaluate_regression.render(result))
    assert "| shifted, no weights | 8" in page
    assert "| CQR, asymmetric | " in page


@pytest.mark.data
def test_streams_settle_where_the_static_split_fails(data: Path) -> None:
    result = evaluate_online.measure(data, limit=1000)
    json.dumps(result, allow_nan=False)
    for series in result["series"].values():
        methods = series["methods"]
        assert methods["static split"]["coverage"] < 0.86
        assert methods["ACI, gamma 0.05"]["coverage"] == pytest.approx(0.9, abs=0.02)
        assert all(one["regret"]["above"] == 0 for one in methods.values() if "regret" in one)
        assert sum("regret" in one for one in methods.values()) == len(evaluate_online.GAMMAS)
    page = "\n".join(evaluate_online.render(result))
    assert page.count("| static split |") == 2
    assert page.count("| 0 of 1000 |") == 2 * len(evaluate_online.GAMMAS)


def test_line_is_least_squares() -> None:
    inputs = np.arange(12.0).reshape(6, 2) ** 1.5
    np.testing.assert_allclose(predict_line(fit_line(inputs, inputs @ [2, -1] + 3), inputs), inputs @ [2, -1] + 3)


def test_summary_by_hand() -> None:
    found = summary(np.array([1.0, 2, 3, 6]))
    assert found["mean"] == 3
    assert found["error"] == pytest.approx(np.sqrt(14 / 3 / 4))
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * found["error"])


def test_other_libraries_answered_the_same_or_it_is_said_why() -> None:
    result = json.loads(regression.RESULT.read_text(encoding="utf-8"))
    assert result["versions"] == regression.PINNED
    assert result["equal"]
    assert max(result["differences"].values()) <= result["tolerance"] == 1e-12
    assert all(departure["what"] for departure in result["departures"].values())
    crps = result["departures"]["crepes, CRPS with difficulties"]
    assert crps["ours"] == crps["by_hand"] != crps["crepes"]
