"""Sharing Ratio Decomposition (Han, Kim, Kwak, ICLR 2024, arXiv:2402.03348) inside the ONNX graph."""

from __future__ import annotations

from shared.memory import MemoryBudget

MEMORY_BUDGET = MemoryBudget(idle_mib=110, used_mib=450)
