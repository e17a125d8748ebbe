"""What the report says whatever was measured."""

from __future__ import annotations

from typing import Final

from services.security.camouflage.evaluation.experiments import PAINT, VICTIM
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.reporting.report import THRESHOLDS

HEAD: Final = f"""# Camouflage: what was measured

`make evaluate-camouflage` writes this page out of `evaluation/runs.jsonl`; all figures are in
`evaluation/figures.json`.

{SIMULATION}

A box counts if it overlaps the car's by half. *Rate* is the share of pictures on which the car is found with a score
of at least {THRESHOLDS[0]} or {THRESHOLDS[1]}; *lost* the share of those found in plain {PAINT} paint that are not
found with the texture, at {THRESHOLDS[1]}; AP50 is COCO's, on pictures with one car each. Where several textures share
a row it shows their mean and [range]. Intervals in () are 95 % bootstrap intervals over views: they say how figures
vary with the camera, not how another seed would have ended, for there is one texture to an arm. Pictures that show too
little of the car are left out before any detector is asked. Views, lights and backgrounds of the grid are unseen by
every step.

Simple cars, one at a time, alone on the street, and small detectors: figures of published camouflages are of other
renderers and detectors, and cannot be compared. Three measures of covertness are of the texture: mean CIEDE2000 to the
nearest of six colours of held-out backgrounds, distance to printable colours (NPS), and total variation (TV). LPIPS
(version 0.1, AlexNet) is of the pictures: how differently the car looks from the same background without it, in the
mean over the car. The less of each, the less it stands out."""

RENDERER: Final = """## The renderer

Tests hold it (`tests/unit/services/security/camouflage`): gradients of the texture against central differences, UV
round trip, energy of the BRDF, and agreement with Mitsuba 3 where `FACET_MITSUBA_PYTHON` names it: mean difference of
sRGB values on the car below 0.03 for metal and matt surfaces, below 0.035 for paint, light on the paint within 12 %
(`test_mitsuba.py`)."""

DEFENCE: Final = f"""## Defence

Not measured. Detectors are trained by another service, which this evaluation does not import:

1. `python -m services.security.camouflage.evaluation hardening-sets` writes a labelled set for each texture into
   `runs/camouflage`: half of its pictures under the result, half under random textures. Backgrounds are those of
   steps; cameras, lights and paints are drawn as for steps.
2. `python -m services.perception.detection.training harden runs/camouflage/*.zip --folder FOLDER` goes on training
   {VICTIM} from its released weights, half of each batch of the sets and half of the frames that it
   learned from. It leaves `card.json` and `detector.onnx`, and in `hardening.json` what that costs on frames without
   textures.
3. `make evaluate-camouflage ARGS="--hardened FOLDER"` attacks that detector, and shows it the textures that were made
   against {VICTIM}. The grid stays unseen: none of its views, lights and backgrounds is in a set. The
   textures that are shown are those of the sets; only the new attack says how the detector does against others."""
