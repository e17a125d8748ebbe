"""Windowing against the formula of DICOM PS3.3 C.11.2.1.2.1."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.imaging.windows import WINDOWS, Window, apply_window, parse_window, render_png
from shared.problems import UnprocessableContent


def standard(value: float, center: float, width: float) -> float:
    """The pseudo-code of the standard, for grey values 0 to 255."""
    if value <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if value > center - 0.5 + (width - 1) / 2:
        return 255.0
    return ((value - (center - 0.5)) / (width - 1) + 0.5) * 255.0


@given(st.floats(-3000, 4000, width=32), st.floats(-1000, 1000), st.floats(1, 4096) | st.just(1.0))
def test_grey_values_follow_the_standard(value: float, center: float, width: float) -> None:
    grey = int(apply_window(np.array([value]), Window(center, width))[0])
    assert abs(grey - standard(value, center, width)) <= 0.5 + 1e-6


def test_known_grey_values() -> None:
    window = WINDOWS["full"]
    hu = np.array([[-1024, 1023, 1024, 3071], [-5000, 0, 5000, 100]], dtype=np.int16)
    grey = apply_window(hu, window)
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[0, 127, 128, 255], [0, 64, 255, 70]]


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_windows_have_names(name: str) -> None:
    assert parse_window(name) == WINDOWS[name]


def test_the_clinical_windows() -> None:
    assert (WINDOWS["lung"].center, WINDOWS["lung"].width) == (-600, 1500)
    assert (WINDOWS["soft-tissue"].center, WINDOWS["soft-tissue"].width) == (40, 400)
    assert (WINDOWS["bone"].center, WINDOWS["bone"].width) == (400, 1800)


def test_center_and_width_can_be_given() -> None:
    assert parse_window(" Soft_Tissue ") == WINDOWS["soft-tissue"]
    assert parse_window("-50, 350.5") == Window(-50, 350.5)


@pytest.mark.parametrize(
    "text", ["", "liver", "1", "1,2,3", "a,b", "nan,100", "40,inf", "40,0", "40,-5", "1e9,100", ","]
)
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(UnprocessableContent) as caught:
        parse_window(text, pointer="/query/window")
    assert caught.value.errors[0].pointer == "/query/window"


def test_rendering_is_a_grey_png() -> None:
    hu = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(8, 8)
    with Image.open(io.BytesIO(render_png(hu, WINDOWS["lung"]))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
        np.testing.assert_array_equal(np.asarray(image), apply_window(hu, WINDOWS["lung"]))
