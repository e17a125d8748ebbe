"""Draws the README's picture: `make picture`, or `python -m services.medical.low_dose_ct.picture FILE.png`.

The demonstration scan before the network, after it, and the phantom itself, side by side through the lung window. It
runs the same pipeline as POST /v1/medical/ct/reconstructions, with the released model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from services.medical.low_dose_ct.demo import demo_files
from services.medical.low_dose_ct.images.attenuation import attenuation_to_hu, hu_to_attenuation
from services.medical.low_dose_ct.pipelines import ReconstructionPipeline
from services.medical.low_dose_ct.released import open_model
from services.medical.low_dose_ct.schemas import ReconstructionOptions
from shared.imaging.arrays import decode_npy
from shared.imaging.pictures import encode_png
from shared.imaging.windows import apply_window
from shared.settings import get_settings

PICTURE = Path(__file__).parent / "docs" / "phantom.png"

_GAP = 6


def draw() -> bytes:
    """The three images as one 8-bit grey PNG."""
    settings = get_settings()
    model = open_model("low-dose-ct")
    pipeline = ReconstructionPipeline(ReconstructionOptions(), model, settings.pixel_limit, settings.inference_threads)
    files = demo_files()
    result = pipeline.process(files["low-dose-sinogram.npy"]).result
    truth = hu_to_attenuation(decode_npy(files["normal-dose.npy"], limit_elements=settings.pixel_limit))
    shown = [apply_window(attenuation_to_hu(image), pipeline.window) for image in (result.before, result.after, truth)]
    gap = np.full((shown[0].shape[0], _GAP), 255, dtype=np.uint8)
    return encode_png(np.hstack([shown[0], gap, shown[1], gap, shown[2]]))


def main(file: Path) -> None:
    """Write the picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(draw())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
