"""Conformal prediction: scores, calibrations, sets and p-values, and what is measured of them. NumPy and SciPy only."""

from __future__ import annotations

from shared.memory import MemoryBudget

MEMORY_BUDGET = MemoryBudget(idle_mib=30, used_mib=120)
