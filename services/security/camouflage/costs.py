"""What a camouflage costs, before anything is computed.

Seconds are estimates for two slow cores without an accelerator; the job looks at the clock itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.security.camouflage.grids import DISTANCES, ELEVATIONS
from services.security.camouflage.hardening import PICTURES as HARDENING_PICTURES
from services.security.camouflage.notices import SIMULATION
from services.security.camouflage.schemas import CamouflageCost, CamouflageOptions, CostPart
from services.security.camouflage.settings import CamouflageSettings
from services.security.camouflage.turntables import FRAMES as TURNTABLE_FRAMES
from services.security.camouflage.turntables import SIDE as TURNTABLE_SIDE
from shared.runtime.cards import UploadedCard, reference_of

TEXTURES: Final = 4
"""That are measured beside each other: plain, grey, random, and the result."""

_SCENE_S: Final = 2.4e-5
"""Of a new view, for each pixel."""
_FRAME_S: Final = 4e-6
"""Of another light or texture on it, for each pixel."""
_PASS_S: Final = 0.1
"""Of a detector's pass over one picture, where its card does not say."""
_GRADIENT: Final = 6.0
"""Passes that one with its gradients takes, as torch does it."""


def cost_of(
    options: CamouflageOptions,
    settings: CamouflageSettings,
    *,
    victim: UploadedCard,
    transfer: Sequence[UploadedCard],
) -> CamouflageCost:
    """What a run costs.

    Args:
        options: of the run.
        settings: its limits.
        victim: card of the detector that the car is hidden from.
        transfer: cards of the others.
    """
    pixels, steps = options.side**2, options.steps * options.batch
    tested = options.azimuths * ELEVATIONS * DISTANCES
    shown = tested * TEXTURES * (1 + len(transfer))
    passes_s = sum(map(_pass_s, (victim, *transfer))) * tested * TEXTURES
    pictures = TURNTABLE_FRAMES + HARDENING_PICTURES
    parts = [
        _part("scenes", options.scenes, 0, options.scenes * pixels * _SCENE_S),
        _part("steps", steps, steps, steps * (pixels * _FRAME_S + _GRADIENT * _pass_s(victim))),
        _part("measures", tested * TEXTURES, shown, tested * pixels * (_SCENE_S + TEXTURES * _FRAME_S) + passes_s),
        _part(
            "pictures",
            pictures,
            0,
            (TURNTABLE_FRAMES * TURNTABLE_SIDE**2 + HARDENING_PICTURES * pixels) * (_SCENE_S + _FRAME_S),
        ),
    ]
    seconds = sum(part.seconds for part in parts)
    advice = _advice(settings, frames=steps, seconds=seconds)
    return CamouflageCost(
        notice=SIMULATION,
        frames=sum(part.frames for part in parts),
        victim_evaluations=steps,
        detections=sum(part.detections for part in parts),
        seconds=round(seconds, 1),
        parts=parts,
        victim=reference_of(victim),
        transfer=[reference_of(card) for card in transfer],
        frames_limit=settings.frames_limit,
        seconds_limit=settings.seconds_limit,
        accepted=advice is None,
        advice=advice,
    )


def _part(purpose: str, frames: int, detections: int, seconds: float) -> CostPart:
    return CostPart.model_validate(
        {"purpose": purpose, "frames": frames, "detections": detections, "seconds": round(seconds, 1)}
    )


def _pass_s(card: UploadedCard) -> float:
    return _PASS_S if card.latency is None else card.latency.value_ms / 1000


def _advice(settings: CamouflageSettings, *, frames: int, seconds: float) -> str | None:
    """What to lower, if something is too large."""
    if frames > settings.frames_limit:
        return (
            f"The steps show the victim {frames} pictures; at most {settings.frames_limit} are accepted. Lower `steps` "
            "or `batch`."
        )
    if seconds > settings.seconds_limit:
        return (
            f"This takes about {seconds:.0f} s; at most {settings.seconds_limit:.0f} s are accepted. Lower `steps`, "
            "`batch`, `side` or `azimuths`, or name fewer detectors in `transfer`."
        )
    return None
