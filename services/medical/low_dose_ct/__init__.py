"""Low-dose CT: filtered back-projection, then a denoiser that was pretrained on Gaussian noise (arXiv 2403.03551).

The numerics (geometry, projection, simulation, reconstruction, metrics) need numpy, scipy, numba and finufft only;
nothing outside `training/` imports torch.
"""

from __future__ import annotations

from shared.memory import MemoryBudget

MEMORY_BUDGET = MemoryBudget(idle_mib=110, used_mib=350)
