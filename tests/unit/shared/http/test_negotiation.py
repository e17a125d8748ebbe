from __future__ import annotations

import pytest

from shared.http.negotiation import DICOM, JSON, NPY, PNG, choose_media_type
from shared.problems import NotAcceptable

OFFERED = (JSON, PNG, NPY)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("  ", JSON),
        ("*/*", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("application/*", JSON),
        ("application/x-npy, application/json", JSON),  # equal quality: the earlier offer
        ("application/x-npy, application/json;q=0.9", NPY),
        ("application/json;q=0.1, */*;q=0.5", PNG),  # the most specific range counts for each offer
        ("*/*, application/json;q=0", PNG),
        ("text/html, image/png;q=0.2", PNG),
        ("image/png; q=0.3, application/x-npy; q=0.8", NPY),
        ("image/png;level=1;q=0.9, application/json;q=0.1", PNG),
        ("image/png;q=oops, application/json;q=0.1", JSON),
        ("image/png;q=7, application/json;q=1", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", JSON),
    ],
)
def test_the_best_offer_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/jpeg", "*/*;q=0", "application/json;q=0", "nonsense", ",", ";"])
def test_no_match_names_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=r"application/json, image/png, application/x-npy"):
        choose_media_type(accept, OFFERED)


def test_quality_that_is_no_number_counts_as_none() -> None:
    with pytest.raises(NotAcceptable):
        choose_media_type("application/dicom;q=nan", (DICOM,))
