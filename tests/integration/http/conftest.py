"""A door for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.http.door import Door, served


@pytest.fixture
def door() -> Iterator[Door]:
    with served() as it:
        yield it
