from __future__ import annotations

from services.medical.low_dose_ct.training.measured_page import PAGE, committed_section, written_section


def test_the_page_shows_the_figures_that_were_measured() -> None:
    assert written_section(PAGE.read_text(encoding="utf-8")) == committed_section()
