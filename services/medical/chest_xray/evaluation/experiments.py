"""All that is measured, one line of results each, named so that a finished one is not computed again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.medical.chest_xray.evaluation import attention, diagnosis
from services.medical.chest_xray.evaluation.film_set import SIZE, FilmSet
from services.medical.chest_xray.evaluation.latency import measure_latency
from services.medical.chest_xray.evaluation.refusals import measure_head, measure_refusals
from services.medical.chest_xray.evaluation.subjects import OnnxFilms, OnnxSubject, Subject, baselines
from services.medical.chest_xray.training.screening import HEAD
from services.medical.chest_xray.training.targets.observer import OBSERVER
from services.medical.chest_xray.training.targets.simulation import GENERATOR, SEED

INSERTED: Final = 100
"""Test films with inserted findings."""

SCREENING: Final = "screening head"

_TARGETS: Final = f"{GENERATOR} {OBSERVER}"

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One line of results.

    Attributes:
        part: what is measured.
        subject: of what.
        version: digest of what the result depends on, beside data and code.
        measure: gives the figures.
    """

    part: str
    subject: str
    version: str
    measure: Callable[[], Line]

    @property
    def key(self) -> str:
        """Names it in the file of results."""
        return f"{self.part}/{self.subject}/{self.version}"

    def run(self) -> Line:
        """The line."""
        head = {"key": self.key, "part": self.part, "subject": self.subject, "version": self.version}
        return head | {"figures": self.measure()}


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        data: folder of all data sets.
        cache: for features of baselines.
        models: given as ONNX files.
        inserted: gives films with inserted findings; None where these are left out.
        head: file of the head of screening.
    """

    data: Path
    cache: Path
    models: Sequence[OnnxSubject] = ()
    inserted: attention.InsertedFilms | None = None
    head: Path = HEAD
    _targets: dict[str, list[attention.Case]] = field(default_factory=dict)

    @cached_property
    def films(self) -> FilmSet:
        """All films; errors as of `FilmSet.of_folder`."""
        return FilmSet.of_folder(self.data)

    def experiments(self) -> Iterator[Experiment]:
        """Baselines first, then models."""
        subjects: list[Subject] = [*baselines(self.cache), *self.models]
        for subject in subjects:
            yield from self._diagnosis(subject)
        yield Experiment("boxes of priors", "priors", "1", self._priors_on_boxes)
        if self.inserted is not None:
            yield Experiment("inserted findings of priors", "priors", _TARGETS, self._priors_on_targets)
        if self.head.exists():
            digest = hashlib.sha256(self.head.read_bytes()).hexdigest()[:16]
            yield Experiment("screening", SCREENING, digest, partial(measure_head, self.data, self.head))
        for model in self.models:
            yield from self._of_model(model)

    def _diagnosis(self, subject: Subject) -> Iterator[Experiment]:
        if subject.once_trained:
            measure = partial(diagnosis.score_fixed_split, self.films, subject)
            yield Experiment(diagnosis.FIXED, subject.name, subject.version, measure)
        if subject.cross_validated:
            measure = partial(diagnosis.score_folds, self.films, subject)
            yield Experiment(diagnosis.CROSS_VALIDATED, subject.name, subject.version, measure)

    def _of_model(self, model: OnnxSubject) -> Iterator[Experiment]:
        run = OnnxFilms(model.file(0))
        if {"attention", "evidence"} <= {*run.outputs}:
            where = "test" if model.once_trained else "folds"
            measure = partial(attention.measure_model_on_boxes, self.films, model)
            yield Experiment(f"boxes of {where}", model.name, model.version, measure)
            if self.inserted is not None and model.once_trained:
                version = f"{model.version} {_TARGETS}"
                yield Experiment("inserted findings", model.name, version, partial(self._on_targets, model))
        if not model.once_trained:
            return
        if "frontal" in run.outputs:
            refuse = partial(measure_refusals, self.data, model.file(0))
            yield Experiment("screening", model.name, model.version, refuse)
        yield Experiment("latency", model.name, model.version, partial(self._latency, model))

    def _priors_on_boxes(self) -> Line:
        return dict(attention.measure_priors_on_boxes(self.films, SIZE))

    def _priors_on_targets(self) -> Line:
        training = self._cases("train", attention.TRAINING_MAPS)
        return dict(attention.measure_priors_on_targets(self._cases("test", INSERTED), training))

    def _on_targets(self, model: OnnxSubject) -> Line:
        run = OnnxFilms(model.file(0))
        if run.size != SIZE:
            raise ValueError(f"films with inserted findings are compared at {SIZE}, not at {run.size}")
        return dict(attention.measure_model(self._cases("test", INSERTED), run))

    def _cases(self, split: str, count: int) -> list[attention.Case]:
        if split not in self._targets:
            assert self.inserted is not None  # noqa: S101 - there is such an experiment only then
            self._targets[split] = attention.inserted_cases(self.inserted, split, count, SEED, SIZE)
        return self._targets[split]

    def _latency(self, model: OnnxSubject) -> Line:
        size = OnnxFilms(model.file(0)).size
        test = np.flatnonzero(self.films.of("test"))[0]
        film = self.films.prepare(int(test), size).array[None]
        return {f"{threads} threads": measure_latency(model.file(0), film, threads=threads) for threads in (1, 2)}
