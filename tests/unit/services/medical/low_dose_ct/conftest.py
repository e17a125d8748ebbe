"""The medical service with hand-made models, small scans, and DICOM files of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from services.medical.app import create_app
from services.medical.low_dose_ct.images.attenuation import hu_to_attenuation
from services.medical.low_dose_ct.reconstruction.geometry import ParallelBeam
from services.medical.low_dose_ct.reconstruction.projector import forward_project
from tests.support.capability import running_capability
from tests.support.tiny_models import release

CT = "/v1/medical/ct"
SIDE = 48


SMALL_SCAN = ParallelBeam(angles=60, detectors=71, image_shape=(SIDE, SIDE))
SMALL_FORM = {"angles": "60", "detectors": "71", "image_size": str(SIDE)}


def slice_hu() -> NDArray[np.float32]:
    """A slice in HU without symmetry: air, a body of water, a bone to one side and a vessel to another."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    hu = np.where(np.hypot(rows, columns * 1.3) < 20, 40.0, -1000.0)
    hu[np.hypot(rows + 10, columns + 4) < 4] = 700
    hu[np.hypot(rows - 6, columns - 7) < 3] = 250
    noise = np.random.default_rng(3).normal(0, 25, hu.shape)
    return np.clip(hu + noise, -1024, 3071).astype(np.float32)


def sinogram() -> NDArray[np.float32]:
    """The scan of that slice, normalised."""
    return forward_project(hu_to_attenuation(slice_hu()), SMALL_SCAN)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The service, with "low-dose-ct" as a 3x3 mean and "gaussian-denoiser" as image plus noise level; no Redis."""
    folder: Path = tmp_path_factory.mktemp("medical")
    models = folder / "models" / "medical"
    release(models, "low-dose-ct", kind="mean", parameters={"noise_level": 0.03125})
    release(models, "gaussian-denoiser", kind="brighten")
    async with running_capability(create_app, folder, pixel_limit=1024 * 1024) as started:
        yield started
