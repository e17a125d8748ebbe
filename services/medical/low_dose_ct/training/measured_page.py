"""Writes the measured tables of low-dose CT into docs/measured.md, so that no figure there is typed by hand.

`make evaluate-low-dose-ct` ends with it; a test compares the page with the evaluations that are committed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from services.medical.low_dose_ct.training import cards
from services.medical.low_dose_ct.training.evaluate import EVALUATION_FILE
from services.medical.low_dose_ct.training.evaluate_chest import chest_table
from services.medical.low_dose_ct.training.evaluate_ellipses import ellipses_table
from services.medical.low_dose_ct.training.evaluate_photographs import photographs_table
from services.medical.low_dose_ct.training.evaluate_range import range_table
from services.medical.low_dose_ct.training.release import release_folder

PAGE = Path(__file__).parents[4] / "docs" / "measured.md"

START, END = "<!-- measured:start -->", "<!-- measured:end -->"

_SECTION = """\
## Low-dose CT

By `make evaluate-low-dose-ct`, which fills this section and the model cards. PSNR and SSIM use the range of each
reference image (DIVal's definition), PSNR-FR and SSIM-FR the full range 1.

**Low-dose chest CT**: LoDoPaB-like scans (4096 photons, 1000 angles, 513 detector bins) simulated from {slices} slices
of {patients} patients that no training saw; not LoDoPaB-CT itself. Intervals: 95 % bootstrap over patients.

{chest}

**Other doses, other kernels, and slices that need no help**, on the same slices: what the service answers beside the
whole answer of the network before it was trained for them. Share: of the network's answer, by the noise of the image.

{beyond}

**DIVal "ellipses"**, the first {phantoms} test phantoms, beside the published figures:

{ellipses}

**Gaussian denoising of BSD68** before any fine-tuning, beside the published figures:

{photographs}
"""


def section(low_dose: dict[str, Any], gaussian: dict[str, Any]) -> str:
    """The section on what was measured, in Markdown.

    Args:
        low_dose: evaluation of the low-dose CT model.
        gaussian: evaluation of the Gaussian denoiser.
    """
    chest = low_dose["chest"]
    overall_and_gains = "\n\n".join(chest_table(chest).split("\n\n")[:2])
    return _SECTION.format(
        slices=chest["slices"],
        patients=chest["patients"],
        chest=overall_and_gains,
        beyond=range_table(low_dose["range"]),
        phantoms=low_dose["ellipses"]["phantoms"],
        ellipses=ellipses_table(low_dose["ellipses"]),
        photographs=photographs_table(gaussian["photographs"]),
    )


def committed_section() -> str:
    """The section made of the evaluations that lie beside the released models."""
    low_dose, gaussian = (
        json.loads((release_folder(name) / EVALUATION_FILE).read_text(encoding="utf-8"))
        for name in (cards.LOW_DOSE_CT, cards.GAUSSIAN)
    )
    return section(low_dose, gaussian)


def written_section(text: str) -> str:
    """The section as a page has it."""
    found = re.search(f"{START}\n(.*){END}", text, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"there is no place for the figures between {START} and {END}")
    return found[1]


def update(page: Path = PAGE) -> None:
    """Put the committed figures into the page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(START + "\n" + written_section(text), START + "\n" + committed_section()), "utf-8")


if __name__ == "__main__":
    update()
