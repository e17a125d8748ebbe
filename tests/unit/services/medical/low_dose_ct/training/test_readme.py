from __future__ import annotations

from services.medical.low_dose_ct.training.readme import README, committed_section, written_section


def test_readme_shows_the_figures_that_were_measured() -> None:
    assert written_section(README.read_text(encoding="utf-8")) == committed_section()
