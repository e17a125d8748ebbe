"""TorchCP, MAPIE and crepes asked for scores, thresholds, sets and p-values of given logits.

TorchCP imports torchsort, torch_geometric and transformers for parts that are not used here; empty modules stand in for
them. Its random numbers come from torch's global generator; they are replaced by the ones that our score used.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

Values = NDArray[np.float64]

UNNEEDED = ("torchsort", "torch_geometric", "transformers", "torchvision")


class _Empty(types.ModuleType):
    """A module that has an empty class of any name."""

    __path__: list[str] = []  # noqa: RUF012 - the import system wants a plain attribute

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".", maxsplit=1)[0] not in UNNEEDED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def stand_in_for_unneeded() -> None:
    """Make `import torchcp` work without what it does not need here. Call before the first import of it."""
    sys.meta_path.insert(0, _Finder())


@contextmanager
def random_numbers(numbers: Values) -> Iterator[None]:
    """Within, torch.rand and torch.rand_like give the numbers of the items (N,), the same for every label."""
    given = torch.from_numpy(numbers)
    originals = torch.rand, torch.rand_like

    def rand(*shape: Any, **_: Any) -> Tensor:
        size = tuple(shape[0]) if isinstance(shape[0], torch.Size | tuple) else shape
        return given.clone() if len(size) == 1 else given[:, None].expand(size).clone()

    torch.rand = rand
    torch.rand_like = lambda like, **_: rand(like.shape)  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.rand, torch.rand_like = originals


class Given:
    """A classifier for MAPIE whose features are its probabilities, or its logits."""

    def __init__(self, classes: int, *, of_logits: bool = False) -> None:
        self.classes_ = np.arange(classes)
        self.of_logits = of_logits

    def fit(self, X: Values, y: NDArray[np.int64]) -> Given:
        """Nothing is fitted."""
        return self

    def predict_proba(self, X: Values) -> Values:
        """The features, or their softmax."""
        return np.asarray(softmax(X, axis=1) if self.of_logits else X)

    def predict(self, X: Values) -> NDArray[np.int64]:
        """The best label."""
        best: NDArray[np.int64] = np.asarray(X).argmax(axis=1)
        return best

    def __sklearn_is_fitted__(self) -> bool:
        return True


def mapie_classifier(score: str, classes: int, alpha: float, *, seed: int = 0, of_logits: bool = False) -> Any:
    """MAPIE's split conformal classifier of one score and level."""
    from mapie.classification import SplitConformalClassifier

    return SplitConformalClassifier(
        estimator=Given(classes, of_logits=of_logits),
        confidence_level=1 - alpha,
        conformity_score=score,
        prefit=True,
        random_state=seed,
    )
