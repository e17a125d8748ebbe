"""What an attack is planned from: options, pictures, attention of a part of a picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from services.security.caption_attack.campaigns.runs import Run, needs_attention, runs_of
from services.security.caption_attack.captioners.fleet_target import lay_over
from services.security.caption_attack.pictures.posted_pictures import read_attacked_picture
from services.security.caption_attack.plan import cost_of
from services.security.caption_attack.schemas import parse_arms, parse_defences
from services.security.caption_attack.settings import CaptionAttackSettings
from tests.support.capability import png
from tests.unit.services.security.caption_attack.captioners.test_endpoints import endpoint
from tests.unit.services.security.caption_attack.reporting.test_report import OPTIONS


def read(content: bytes, longest_side: int = 256) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return read_attacked_picture(content, longest_side=longest_side, pixel_limit=10**6, pointer="/body/file/0")


def test_a_small_picture_keeps_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read(png(pixels)), pixels)
    grey = pixels[:, :, 0]
    np.testing.assert_array_equal(read(png(Image.fromarray(grey))), np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("size", "wanted"), [((300, 100), (64, 21)), ((100, 300), (21, 64)), ((1000, 1), (64, 1))])
def test_a_large_picture_is_scaled_to_its_longest_side(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    found = read(png(Image.new("RGB", size, (10, 200, 90))), longest_side=64)
    assert found.shape == (wanted[1], wanted[0], 3)
    assert np.abs(found.astype(int) - (10, 200, 90)).max() <= 1


def test_sixteen_bits_become_eight() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(stream, format="PNG")
    assert read(stream.getvalue())[0, :, 0].tolist() == [0, 128, 255]


def test_attention_to_a_part_is_nothing_outside_of_it() -> None:
    maps = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    assert lay_over(maps, (0, 0, 6, 4), size=(4, 6)) is maps
    laid = lay_over(maps, (1, 0, 5, 4), size=(4, 6))
    assert laid.shape == (1, 4, 6)
    assert laid[0].tolist() == [[0, 1, 1, 2, 2, 0]] * 2 + [[0, 3, 3, 4, 4, 0]] * 2
    none = np.empty((0, 2, 2))
    assert lay_over(none, (1, 1, 2, 2), size=(4, 6)) is none


def test_letters_and_names_are_read_leniently_and_unknown_ones_are_named() -> None:
    assert parse_arms(" a,C,a ") == ("A", "C")
    with pytest.raises(ValueError, match=r"'Q' is no arm.*Square"):
        parse_arms("A,q")
    assert parse_defences("random_resize, jpeg_75") == ("jpeg_75", "random_resize")
    assert parse_defences("none") == ()
    with pytest.raises(ValueError, match="is no defence"):
        parse_defences("none,jpeg_75")


def test_pictures_are_finished_one_after_another() -> None:
    options = OPTIONS.model_copy(update={"arms": ("A", "N"), "seeds": 2, "first_seed": 5})
    assert runs_of(options, 2)[:5] == [Run(0, "A", 5), Run(0, "N", 5), Run(0, "A", 6), Run(0, "N", 6), Run(1, "A", 5)]
    assert OPTIONS.pixels(10, 10) == 1
    assert OPTIONS.model_copy(update={"pixels_percent": 50.0}).pixels(10, 10) == 50


@pytest.mark.parametrize(("arms", "needed"), [(("C", "D", "G", "O"), False), (("C", "F"), True), (("A",), True)])
def test_attention_is_asked_for_where_an_arm_uses_it(arms: tuple[str, ...], needed: bool) -> None:
    assert needs_attention(OPTIONS.model_copy(update={"arms": arms})) == needed


def test_an_endpoint_gets_a_margin_for_further_tries_and_is_judged_by_its_rate() -> None:
    settings = CaptionAttackSettings(_env_file=None)
    slow = endpoint(queries_per_s=0.1)
    cost = cost_of(OPTIONS, settings, pictures=1, endpoint=slow)
    assert cost.queries == 3 + 300 + 6
    assert cost.budget == 340
    assert cost.seconds_at_least == pytest.approx(3090)
    assert cost.accepted
    more = cost_of(OPTIONS, settings, pictures=2, endpoint=slow)
    assert more.advice is not None
    assert "rate of this endpoint" in more.advice
    bounded = OPTIONS.model_copy(update={"budget": 50})
    assert cost_of(bounded, settings, pictures=2, endpoint=slow).accepted, "no more than the budget is ever asked"
