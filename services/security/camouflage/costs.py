"""What a camouflage costs, before anything is computed.

Seconds and memory are estimates, for two cores without an accelerator that others keep busy as well; the job looks at
the clock itself. All measured constants stand here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.security.camouflage.detector_endpoints import DetectorEndpoint
from services.security.camouflage.grids import DISTANCES, ELEVATIONS
from services.security.camouflage.hardening import PICTURES as HARDENING_PICTURES
from services.security.camouflage.notices import SIMULATION
from services.security.camouflage.schemas import CamouflageCost, CamouflageOptions, CostPart, EndpointCost
from services.security.camouflage.settings import CamouflageSettings
from services.security.camouflage.transfers import PREFIX, use_endpoint
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

_WORKER_MIB: Final = 500
"""Of a worker with torch, a victim and a texture, before scenes and batches."""
_SCENE_BYTES: Final = 300.0
"""Of a scene that is kept, with its backgrounds, for each pixel."""
_PICTURE_MIB: Final = 60.0
"""Of a picture of a batch in the victim, with what its gradient needs."""


def cost_of(
    options: CamouflageOptions,
    settings: CamouflageSettings,
    *,
    victim: UploadedCard,
    transfer: Sequence[UploadedCard],
    endpoints: Sequence[DetectorEndpoint] = (),
) -> CamouflageCost:
    """What a run costs.

    Args:
        options: of the run.
        settings: its limits.
        victim: card of the detector that the car is hidden from.
        transfer: cards of the others.
        endpoints: registered detectors that are asked as well.
    """
    pixels, steps = options.side**2, options.steps * options.batch
    tested = options.azimuths * ELEVATIONS * DISTANCES
    asked = [_asked(one, tested * TEXTURES) for one in endpoints]
    shown = tested * TEXTURES * (1 + len(transfer) + len(asked))
    passes_s = sum(map(_pass_s, (victim, *transfer))) * tested * TEXTURES
    waited_s = sum(one.seconds_at_least for one in asked)
    pictures = TURNTABLE_FRAMES + HARDENING_PICTURES
    parts = [
        _part("scenes", options.scenes, 0, options.scenes * pixels * _SCENE_S),
        _part("steps", steps, steps, steps * (pixels * _FRAME_S + _GRADIENT * _pass_s(victim))),
        _part(
            "measures",
            tested * TEXTURES,
            shown,
            tested * pixels * (_SCENE_S + TEXTURES * _FRAME_S) + passes_s + waited_s,
        ),
        _part(
            "pictures",
            pictures,
            0,
            (TURNTABLE_FRAMES * TURNTABLE_SIDE**2 + HARDENING_PICTURES * pixels) * (_SCENE_S + _FRAME_S),
        ),
    ]
    seconds, memory_mib = sum(part.seconds for part in parts), memory_of(options)
    advice = _advice(settings, frames=steps, seconds=seconds, memory_mib=memory_mib)
    return CamouflageCost(
        notice=SIMULATION,
        frames=sum(part.frames for part in parts),
        victim_evaluations=steps,
        detections=sum(part.detections for part in parts),
        seconds=round(seconds, 1),
        parts=parts,
        victim=reference_of(victim),
        transfer=[reference_of(card) for card in transfer],
        endpoints=asked,
        memory_mib=memory_mib,
        frames_limit=settings.frames_limit,
        seconds_limit=settings.seconds_limit,
        memory_limit_mib=settings.memory_limit_mib,
        accepted=advice is None,
        advice=None if advice is None else advice[1],
        field=None if advice is None else advice[0],
    )


def memory_of(options: CamouflageOptions) -> int:
    """About what a run takes of its worker's memory, MiB."""
    kept = min(options.scenes, options.steps * options.batch) * options.side**2 * _SCENE_BYTES / 2**20
    return round(_WORKER_MIB + kept + options.batch * _PICTURE_MIB)


def _asked(endpoint: DetectorEndpoint, queries: int) -> EndpointCost:
    return EndpointCost(
        name=PREFIX + endpoint.name,
        owner=endpoint.owner,
        queries=queries,
        budget=use_endpoint(endpoint, pictures=queries).budget,
        seconds_at_least=round(queries / endpoint.queries_per_s, 1),
    )


def _part(purpose: str, frames: int, detections: int, seconds: float) -> CostPart:
    return CostPart.model_validate(
        {"purpose": purpose, "frames": frames, "detections": detections, "seconds": round(seconds, 1)}
    )


def _pass_s(card: UploadedCard) -> float:
    return _PASS_S if card.latency is None else card.latency.value_ms / 1000


def _advice(settings: CamouflageSettings, *, frames: int, seconds: float, memory_mib: int) -> tuple[str, str] | None:
    """The field to blame and what to lower, if something is too large."""
    if frames > settings.frames_limit:
        return "steps", (
            f"The steps show the victim {frames} pictures; at most {settings.frames_limit} are accepted. Lower `steps` "
            "or `batch`."
        )
    if memory_mib > settings.memory_limit_mib:
        return "scenes", (
            f"This takes about {memory_mib} MiB of memory; at most {settings.memory_limit_mib} MiB are accepted. Lower "
            "`scenes`, `side` or `batch`."
        )
    if seconds > settings.seconds_limit:
        return "steps", (
            f"This takes about {seconds:.0f} s; at most {settings.seconds_limit:.0f} s are accepted. Lower `steps`, "
            "`batch`, `scenes`, `side` or `azimuths`, or name fewer detectors in `transfer`."
        )
    return None
