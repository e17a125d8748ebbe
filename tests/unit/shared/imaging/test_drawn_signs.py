"""The drawn stop signs are the same pixels each time: pages show what classifiers say of them."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from shared.imaging.drawn_signs import CUT_OUT, PLAIN, StopSign


@pytest.mark.parametrize(
    ("sign", "digest"),
    [
        (CUT_OUT, "c08d2c38994749d2f82a13c9120b38003a3a45ad4704cacb2ac51bfd1ae404ab"),
        (PLAIN, "1b344d4c3fbe60387454bb5d55fcb5ec2e9c5652bd8e596f09e078a6e29910c4"),
    ],
)
def test_pixels_stay_what_they_were_when_pages_were_written(sign: StopSign, digest: str) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(sign.png())))
    assert pixels.shape == (sign.side, sign.side, 3)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == digest
