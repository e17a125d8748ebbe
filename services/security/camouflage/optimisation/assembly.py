"""The parts of a job in a fleet: victims and detectors are its models, steps are those of `run`."""

from __future__ import annotations

import hashlib

import torch

from services.released import released_folders
from services.security.camouflage.detection.detectors import ModelDetector, VehicleDetector
from services.security.camouflage.detection.fleet_detectors import PRIOR
from services.security.camouflage.measurement.conditions import Backgrounds, Pictures, Streets
from services.security.camouflage.optimisation.parts import Beginning, Begun, Parts, VictimDigests
from services.security.camouflage.optimisation.run import CamouflageRun
from services.security.camouflage.optimisation.victims import open_victim
from shared.fleet.artifacts import ModelArtifact, model_artifact
from shared.problems import Conflict
from shared.runtime.cards import ModelReference
from shared.settings import Settings


def fleet_parts(settings: Settings) -> Parts:
    """Parts for the models of a fleet.

    Args:
        settings: of the process: where models are, and how many threads compute.
    """
    torch.set_num_threads(settings.inference_threads)
    folders = released_folders(settings)

    def find(model: ModelReference) -> ModelArtifact:
        artifact = model_artifact(settings, folders, model.name, model.version)
        if artifact.sha256 != model.weights_sha256:
            raise Conflict(f"{model.name} {model.version} is another file than when the camouflage was asked for.")
        return artifact

    def begin(beginning: Beginning) -> Begun:
        artifact, plan = find(beginning.victim), beginning.plan
        victim = open_victim(artifact.card, artifact.read(), side=plan.views.side)
        prior = model_artifact(settings, folders, PRIOR).read() if plan.pattern == "ddpm" else None
        run = CamouflageRun(
            plan, beginning.mesh, victim, _backgrounds(beginning), prior=prior, initial=beginning.initial
        )

        def digests() -> VictimDigests:
            file = hashlib.sha256(find(beginning.victim).read()).hexdigest()
            return VictimDigests(file, victim.weights_digest())

        return Begun(run, digests)

    def detector(model: ModelReference) -> VehicleDetector:
        artifact = find(model)
        return ModelDetector(
            artifact.card, artifact.read(), threads=settings.inference_threads, pointer="/body/transfer"
        )

    return Parts(begin, detector)


def _backgrounds(beginning: Beginning) -> Backgrounds:
    return Pictures(beginning.pictures, beginning.horizon) if beginning.pictures else Streets()
