"""x."""

from __future__ import annotations

import httpx
import pytest

from services.medical.chest_xray.demo import chest_film
from tests.unit.services.medical.chest_xray.conftest import diagnose

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_smoke(client: httpx.AsyncClient) -> None:
    answer = await diagnose(client, chest_film())
    assert answer.status_code == 200, answer.text
    print(answer.json())
    for accept in ("image/png", "application/x-npy", "application/dicom"):
        got = await diagnose(client, chest_film(), accept=accept)
        assert got.status_code == 200, got.text
