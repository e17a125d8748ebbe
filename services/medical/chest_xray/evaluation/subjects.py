"""What is measured: baselines without a picture, heads on frozen features, models as ONNX files.

Each gives two kinds of scores for a film: a logit of the radiologists' Lung Opacity, and a logit for each text-mined
class. Trained on films of a mask, so that the same code serves the fixed split and a cross-validation.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.evaluation.film_set import SIZE, FilmSet
from services.medical.chest_xray.evaluation.perturbations import ORIGINAL, VARIANTS
from services.medical.chest_xray.films import PREPROCESSING
from services.medical.chest_xray.training.data.manifest import FOLDER, MANIFEST
from services.medical.chest_xray.training.frozen_features import (
    CHANNELS,
    WHOLE,
    FrozenFeatures,
    feature_graph,
    randomise,
    read_backbone,
)
from services.medical.chest_xray.training.heads.linear_heads import INVERSE_PENALTIES, LinearHead, fit_head
from shared.runtime.session_options import session_options

CALIBRATING: Final = 16
"""Training films that random weights are scaled on."""

RANDOM_SEEDS: Final = (0, 1, 2)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Logits of some films.

    Attributes:
        opacity: float64 (n,).
        classes: float64 (n, 3), log-probabilities but for a constant of each row.
    """

    opacity: NDArray[np.float64]
    classes: NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSubject:
    """Logistic regression on features that need no training.

    Attributes:
        name: in tables.
        read: features (films, features) of all films as a variant.
        variants: as which films are shown.
        version: digest or number of what scores depend on, beside the films.
        cross_validated: whether all films can be measured by cross-validation.
        once_trained: whether the test split can be measured after training on the training split.
        inverse_penalties: scikit-learn's C to choose from within what is trained on.
    """

    name: str
    read: Callable[[FilmSet, str], NDArray[Any]]
    variants: tuple[str, ...]
    version: str
    cross_validated: bool = True
    once_trained: bool = True
    inverse_penalties: tuple[float, ...] = INVERSE_PENALTIES
    _fitted: dict[bytes, tuple[LinearHead, LinearHead]] = field(default_factory=dict)

    def score(self, films: FilmSet, train: Mask, wanted: Mask, variant: str) -> Scores:
        """Two heads: one trained on films that radiologists have seen, one on the text-mined classes."""
        after = self.read(films, variant)[wanted]
        opacity, classes = self._heads(films, train)
        return Scores(opacity(after)[:, 1], classes(after))

    def _heads(self, films: FilmSet, train: Mask) -> tuple[LinearHead, LinearHead]:
        if (key := train.tobytes()) not in self._fitted:
            before = self.read(films, ORIGINAL)
            seen = train & (films.opacity >= 0)
            self._fitted[key] = (
                self._fit(before, films.opacity, films, seen),
                self._fit(before, films.labels, films, train),
            )
        return self._fitted[key]

    def _fit(self, features: NDArray[Any], labels: NDArray[np.int64], films: FilmSet, chosen: Mask) -> LinearHead:
        penalties = self.inverse_penalties
        return fit_head(features[chosen], labels[chosen], films.patients[chosen], inverse_penalties=penalties)


def _view(films: FilmSet, _: str) -> NDArray[Any]:
    return np.array([[float(view == "PA")] for view in films.views])


def _patient(films: FilmSet, _: str) -> NDArray[Any]:
    with (films.data / FOLDER / MANIFEST).open(encoding="utf-8", newline="") as file:
        about = [(float(row["age"]), float(row["age"]) ** 2, float(row["sex"] == "M")) for row in csv.DictReader(file)]
    return np.hstack([_view(films, ""), np.array(about)])


class CachedFeatures:
    """Pooled features of a frozen network for all films, computed once and kept in a file.

    Args:
        folder: of such files.
        seed: of random weights; None for ImageNet's.
    """

    def __init__(self, folder: Path, seed: int | None) -> None:
        self._folder, self._seed = folder, seed
        self._found: dict[str, NDArray[np.float32]] = {}

    def __call__(self, films: FilmSet, variant: str) -> NDArray[np.float32]:
        """(films, 784) float32; NaN of films that are not shown with changes."""
        if variant not in self._found:
            self._found[variant] = self._read(films, variant)
        return self._found[variant]

    def _read(self, films: FilmSet, variant: str) -> NDArray[np.float32]:
        which = "imagenet" if self._seed is None else f"random-{self._seed}"
        names = hashlib.sha256("".join(film.file for film in films.films).encode()).hexdigest()[:8]
        side = "x".join(map(str, SIZE))
        file = self._folder / f"{which}-{variant.replace(' ', '-')}-{side}-{PREPROCESSING}-{names}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            compute = FrozenFeatures(self._graph(films))
            shown = np.flatnonzero(films.shown_changed if variant != ORIGINAL else np.ones(len(films), bool))
            found = np.full((len(films), sum(CHANNELS)), np.nan, np.float32)
            found[shown] = np.concatenate([compute(batch) for batch in films.batches(shown, SIZE, variant)])
            unfinished = file.with_suffix(".part.npy")
            np.save(unfinished, found)
            unfinished.replace(file)
        kept: NDArray[np.float32] = np.load(file)
        return kept

    def _graph(self, films: FilmSet) -> Any:
        if not hasattr(self, "_made"):
            backbone = read_backbone()
            if self._seed is not None:
                training = np.flatnonzero(films.of("train"))[:CALIBRATING]
                backbone = randomise(backbone, np.concatenate([*films.batches(training)]), seed=self._seed)
            self._made = feature_graph(backbone, SIZE, WHOLE)
        return self._made


def baselines(cache: Path) -> list[FeatureSubject]:
    """All that is measured without a trained network.

    Args:
        cache: folder for features.
    """
    variants = tuple(VARIANTS)
    found = [
        FeatureSubject("view only", _view, (ORIGINAL,), "1"),
        FeatureSubject("view, age and sex", _patient, (ORIGINAL,), "1"),
    ]
    for seed in RANDOM_SEEDS:
        shown = variants if seed == RANDOM_SEEDS[0] else (ORIGINAL,)
        found.append(FeatureSubject(f"random network, seed {seed}", CachedFeatures(cache, seed), shown, "1"))
    found.append(FeatureSubject("ImageNet features", CachedFeatures(cache, None), variants, "1"))
    return found


class OnnxFilms:
    """A model in the form of the role `chest-xray`, run on prepared films.

    Args:
        file: ONNX file with input `film` (n, 1, H, W).
        threads: of one run.

    Attributes:
        size: H and W.
        metadata: of the file, such as `temperature` and `frontal_threshold`.
    """

    def __init__(self, file: Path, *, threads: int = 1) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            str(file), session_options(threads, arena=True), providers=["CPUExecutionProvider"]
        )
        height, width = self._session.get_inputs()[0].shape[2:]
        self.size = (int(height), int(width))
        self.outputs = tuple(one.name for one in self._session.get_outputs())
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, films: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Outputs by name for films (n, H, W)."""
        return dict(zip(self.outputs, self._session.run(None, {"film": films[:, None]}), strict=True))


@dataclass(frozen=True)
class OnnxSubject:
    """A model, trained on the training split; or five, each trained without one fold of `FilmSet.folds`.

    Attributes:
        name: in tables.
        path: of the ONNX file; with `{fold}` in it, of those of the folds.
    """

    name: str
    path: str
    variants: tuple[str, ...] = tuple(VARIANTS)

    @property
    def cross_validated(self) -> bool:
        """Whether there is a file for each fold."""
        return "{fold}" in self.path

    @property
    def once_trained(self) -> bool:
        """Whether there is one file."""
        return not self.cross_validated

    @cached_property
    def version(self) -> str:
        """Digest of the files."""
        folds = range(5) if self.cross_validated else (0,)
        digests = [hashlib.sha256(self.file(fold).read_bytes()).hexdigest() for fold in folds]
        return hashlib.sha256("".join(digests).encode()).hexdigest()[:16] if len(digests) > 1 else digests[0][:16]

    def file(self, fold: int) -> Path:
        """The file that was trained without a fold."""
        return Path(self.path.replace("{fold}", str(fold)))

    def score(self, films: FilmSet, train: Mask, wanted: Mask, variant: str) -> Scores:
        """As the file gives them: logits by its own temperature.

        Raises:
            ValueError: films of a fold are wanted together with others, of a model for each fold.
        """
        folds = np.unique(films.folds[wanted]) if self.cross_validated else [0]
        if len(folds) != 1 or (self.cross_validated and train[films.folds == folds[0]].any()):
            raise ValueError("a model for each fold scores the films of one fold")
        run = OnnxFilms(self.file(int(folds[0])))
        found = [run(batch) for batch in films.batches(np.flatnonzero(wanted), run.size, variant)]
        opacity, classes = (np.concatenate([one[name] for one in found]) for name in ("opacity", "logits"))
        return Scores(opacity.astype(np.float64), classes.astype(np.float64))


Subject = FeatureSubject | OnnxSubject
"""Something that scores films."""


def read_models(options: list[str]) -> list[OnnxSubject]:
    """Models out of `NAME=path.onnx` or `NAME=path-{fold}.onnx`.

    Raises:
        ValueError: an option of another form.
    """
    found = []
    for option in options:
        name, separator, path = option.partition("=")
        if not (name and separator and path):
            raise ValueError(f"a model is given as NAME=path.onnx, not {option}")
        found.append(OnnxSubject(name, path))
    return found
