"""The tables and series that published figures were measured on, as arrays."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray

FOLDER = "tabular"
COMMUNITY_KEYS = ("state", "county", "community", "communityname", "fold")
"""Columns that are no inputs."""

LAGS = 24
"""Hours of the series that its next value is predicted from."""


@dataclass(frozen=True)
class Table:
    """Inputs (n, d) and targets (n,)."""

    inputs: FloatArray
    targets: FloatArray


def airfoil(data: Path) -> Table:
    """NASA airfoil self-noise, 1,503 rows; columns 1 and 5 as logarithms, as Tibshirani et al. 2019 take them."""
    values = np.array(_rows(data / FOLDER / "airfoil.csv")[1:], dtype=np.float64)
    inputs = values[:, :-1].copy()
    inputs[:, [0, 4]] = np.log(inputs[:, [0, 4]])
    return Table(inputs, values[:, -1])


def communities(data: Path) -> Table:
    """Communities and Crime, 1,994 rows and 100 inputs, prepared as in the CQR authors' code.

    Keys and the 22 columns that most rows lack are left out; the one row that lacks OtherPerCap gets its mean.
    Columns on race and origin are among the inputs: the data is used for the coverage of intervals only.
    """
    header, *rows = _rows(data / FOLDER / "communities.csv")
    columns = [
        np.array([np.nan if cell == "?" else float(cell) for cell in column])
        for name, column in zip(header, zip(*rows, strict=True), strict=True)
        if name not in COMMUNITY_KEYS
    ]
    filled = [np.where(np.isnan(one), np.nanmean(one), one) for one in columns if np.isnan(one).mean() < 0.5]
    values = np.column_stack(filled)
    return Table(values[:, :-1], values[:, -1])


def wind(data: Path) -> Table:
    """Hourly output of a wind farm in MWh, 13,871 hours, from the last 24 hours and the time of day."""
    rows = _rows(data / FOLDER / "wind_hackberry.csv")[1:]
    output = np.array([float(row[3]) for row in rows])
    hours = np.array([float(row[2].rstrip("D")) / 100 for row in rows])  # D: the hour that summer time repeats
    return _lagged(output, _clock(hours))


def beijing_air(data: Path) -> Table:
    """Hourly fine dust (PM2.5, micrograms per cubic metre) at Tiantan, from the last 24 hours, weather, time of day.

    Hours of which a value is missing, or which have one among the 24 before, are left out.
    """
    header, *rows = _rows(data / FOLDER / "beijing_air_tiantan.csv")
    names = ("PM2.5", "TEMP", "PRES", "DEWP", "WSPM", "hour")
    table = np.array(
        [
            [np.nan if row[header.index(name)] == "NA" else float(row[header.index(name)]) for name in names]
            for row in rows
        ]
    )
    return _lagged(table[:, 0], np.column_stack([table[:, 1:5], _clock(table[:, 5])]))


def _lagged(series: FloatArray, others: FloatArray) -> Table:
    """Each value with the LAGS values before it and what else is known of its hour; incomplete rows left out."""
    before = np.lib.stride_tricks.sliding_window_view(series, LAGS)[:-1]
    inputs, targets = np.column_stack([before, others[LAGS:]]), series[LAGS:]
    whole = np.isfinite(inputs).all(axis=1) & np.isfinite(targets)
    return Table(inputs[whole], targets[whole])


def _clock(hours: FloatArray) -> FloatArray:
    angle = 2 * np.pi * hours / 24
    return np.column_stack([np.sin(angle), np.cos(angle)])


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
