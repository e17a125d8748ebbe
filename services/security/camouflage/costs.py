"""What a camouflage costs, before anything is computed.

Seconds and memory are estimates for two busy cores without an accelerator; the job looks at the clock itself. All that
was measured for them stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.security.camouflage.detection.endpoints import DetectorEndpoint
from services.security.camouflage.detection.transfers import PREFIX, use_endpoint
from services.security.camouflage.measurement.grids import DISTANCES, ELEVATIONS
from services.security.camouflage.reporting.hardening import PICTURES as HARDENING_PICTURES
from services.security.camouflage.reporting.notices import SIMULATION
from services.security.camouflage.reporting.turntables import FRAMES as TURNTABLE_FRAMES
from services.security.camouflage.reporting.turntables import SIDE as TURNTABLE_SIDE
from services.security.camouflage.schemas import CamouflageCost, CamouflageOptions, CostPart, EndpointCost
from services.security.camouflage.settings import CamouflageSettings
from shared.runtime.cards import UploadedCard, reference_of

TEXTURES: Final = 4
"""That are measured beside each other: plain, grey, random, and the result."""

_SHARED: Final = 2.0
"""Seconds on the clock for each of one core: two cores that others keep busy as well."""

# Seconds of one core, x86-64, float32, one thread; measured with the released vehicle-detector and the sedan.
_START_S: Final = 5.0
"""Of a worker that opens a victim and compares its graph with onnxruntime."""
_SCENE_S: Final = 4.0e-6
"""Of a new view with its background, for each pixel."""
_FRAME_S: Final = 1.5e-6
"""Of another light or texture on it, for each pixel."""
_PASS_S: Final = 0.05
"""Of a detector's pass over one picture, where its card does not say."""
_GRADIENT: Final = 4.5
"""Passes that one with its gradients takes, as torch does it; 3.8 with nanodet."""
_PRIOR_S: Final = 0.25
"""Of a step of `ddpm` in its diffusion model."""
_GENERATOR_S: Final = 2.5e-6
"""Of a step of `generator` in its network, for each texel."""

# Peaks of the resident memory of a worker.
_WORKER_MIB: Final = 510
"""With torch, a victim and a texture, before scenes and batches."""
_SCENE_BYTES: Final = 70.0
"""Of a scene that is kept, with its backgrounds, for each pixel, where the car fills the picture."""
_GENERATOR_BYTES: Final = 1700.0
"""Of the network of `generator` with what its gradient needs, for each texel."""
_PICTURE_MIB: Final = 110.0
"""Of a picture of a batch in the victim, with what its gradient needs; 64 with nanodet."""


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
    made_s = options.steps * _pattern_s(options)
    tested = options.azimuths * ELEVATIONS * DISTANCES
    asked = [_asked(one, tested * TEXTURES) for one in endpoints]
    shown = tested * TEXTURES * (1 + len(transfer) + len(asked))
    passes_s = sum(map(_pass_s, (victim, *transfer))) * tested * TEXTURES
    waited_s = sum(one.seconds_at_least for one in asked)
    pictures = TURNTABLE_FRAMES + HARDENING_PICTURES
    parts = [
        _part("scenes", options.scenes, 0, _SHARED * (_START_S + options.scenes * pixels * _SCENE_S)),
        _part("steps", steps, steps, _SHARED * (made_s + steps * (pixels * _FRAME_S + _GRADIENT * _pass_s(victim)))),
        _part(
            "measures",
            tested * TEXTURES,
            shown,
            _SHARED * (tested * pixels * (_SCENE_S + TEXTURES * _FRAME_S) + passes_s) + waited_s,
        ),
        _part(
            "pictures",
            pictures,
            0,
            _SHARED * (TURNTABLE_FRAMES * TURNTABLE_SIDE**2 + HARDENING_PICTURES * pixels) * (_SCENE_S + _FRAME_S),
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
    texture = options.texture_side**2 * _GENERATOR_BYTES / 2**20 if options.pattern == "generator" else 0.0
    return round(_WORKER_MIB + kept + texture + options.batch * _PICTURE_MIB)


def _pattern_s(options: CamouflageOptions) -> float:
    """Of a step, for the pattern alone; that of `pixels` is nothing beside the rest."""
    if options.pattern == "generator":
        return options.texture_side**2 * _GENERATOR_S
    return _PRIOR_S if options.pattern == "ddpm" else 0.0


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
