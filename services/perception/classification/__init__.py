"""Traffic-sign classification: the classifier that other systems explain, protect and calibrate."""

from __future__ import annotations

from shared.memory import MemoryBudget

MEMORY_BUDGET = MemoryBudget(idle_mib=70, used_mib=110)
