"""Restricted access with queries: a generator is tuned for classifiers that only answer, without their gradients.

The paper transfers a generator from a surrogate and asks nothing. Here it goes on from there. The gradient of each
picture's loss at F(x) is estimated from differences of answers along random directions (Nesterov, Spokoiny 2017,
"Random gradient-free minimization of convex functions"), smooth ones, since the loss hardly depends on single pixels,
and with the surrogate's own gradient among them (Cheng et al. 2019, arXiv:1906.06919, prior-guided); from F(x) on it is
the generator's true gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import idctn
from torch import Tensor
from torch.nn import functional

from services.security.neuralfuse.training.data import batches
from services.security.neuralfuse.training.generators import Fuse
from services.security.neuralfuse.training.perturbed_networks import PerturbedNetwork
from services.security.neuralfuse.training.served_classifiers import BlackBox
from shared.datasets.traffic_signs import Signs


@dataclass(frozen=True, slots=True)
class QueryRecipe:
    """Everything that decides a tuned generator, beside data, surrogate and what is asked."""

    steps: int = 60
    batch: int = 32
    directions: int = 20
    """Random directions for each picture and classifier; each is one query, and one more is made at F(x) itself."""
    frequencies: int = 8
    """Random directions are sums of that many frequencies of each axis."""
    distance: float = 0.5
    """How far from F(x) is asked, in the norm of the pictures in [-1, 1]."""
    weight: float = 5.0
    """Lambda: of the loss at low voltage."""
    learning_rate: float = 2e-4
    seed: int = 0

    def queries(self, classifiers: int) -> int:
        """Queries of a whole run: what the budget must allow. The surrogate's gradient is one more direction."""
        return self.steps * self.batch * (self.directions + 2) * classifiers


def tune(
    fuse: Fuse,
    nominal: BlackBox,
    low: Sequence[BlackBox],
    training: Signs,
    recipe: QueryRecipe,
    *,
    surrogate: PerturbedNetwork | None = None,
) -> Iterator[tuple[int, float, float]]:
    """Tune F in place.

    Args:
        fuse: a trained F; its batch normalisation keeps its statistics.
        nominal: the classifier at nominal voltage.
        low: the same at low voltage, one or several chips; each step asks one of them.
        training: labelled pictures.
        recipe: how.
        surrogate: whose gradient is tried as a direction; it may be another architecture.

    Yields:
        After each step its number from 1, and the losses at nominal and at low voltage before it.

    Raises:
        BudgetExhausted, httpx.HTTPError: of the classifiers; the steps before hold.
    """
    random = np.random.default_rng(recipe.seed)
    optimiser = torch.optim.Adam(fuse.parameters(), lr=recipe.learning_rate)
    fuse.eval()
    for step, (pictures, classes) in zip(range(1, recipe.steps + 1), _endless(training, recipe), strict=False):
        transformed = fuse(pictures)
        seen = transformed.detach()
        guides = [] if surrogate is None else [_surrogate_gradient(surrogate, seen, classes)]
        chip = low[int(random.integers(len(low)))]
        losses, gradient = [], torch.zeros_like(seen)
        for classifier, weight in ((nominal, 1.0), (chip, recipe.weight)):
            directions = _directions(seen, recipe, random, guides)
            loss, estimate = estimate_gradient(classifier, seen, classes, directions, distance=recipe.distance)
            gradient += weight * estimate / len(seen)
            losses.append(loss)
        optimiser.zero_grad(set_to_none=True)
        transformed.backward(gradient)
        optimiser.step()
        yield step, losses[0], losses[1]


def estimate_gradient(
    classifier: BlackBox, pictures: Tensor, classes: Tensor, directions: Tensor, *, distance: float
) -> tuple[float, Tensor]:
    """The gradient of each picture's cross-entropy within the span of its directions, by forward differences.

    Args:
        classifier: takes pictures in [0, 1].
        pictures: (count, 3, height, width) in [-1, 1].
        classes: of them.
        directions: (number, count, 3, height, width), orthonormal for each picture.
        distance: of the differences.

    Returns:
        The mean loss at the pictures, and the estimates, of the pictures' shape.
    """
    number, count = directions.shape[:2]
    asked = torch.cat([pictures[None], (pictures + distance * directions).clamp(-1, 1)])
    logits = classifier(_in_unit(asked.reshape(-1, *pictures.shape[1:])))
    losses = functional.cross_entropy(
        torch.from_numpy(logits.copy()), classes.repeat(number + 1), reduction="none"
    ).reshape(number + 1, count)
    slopes = (losses[1:] - losses[:1]) / distance
    return float(losses[0].mean()), torch.einsum("nc,nc...->c...", slopes, directions)


def _endless(signs: Signs, recipe: QueryRecipe) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        yield from batches(signs, size=recipe.batch, epoch=epoch, seed=recipe.seed)
        epoch += 1


def _surrogate_gradient(surrogate: PerturbedNetwork, seen: Tensor, classes: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = seen.clone().requires_grad_()
        functional.cross_entropy(surrogate(leaf), classes, reduction="sum").backward()  # type: ignore[no-untyped-call]
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _directions(seen: Tensor, recipe: QueryRecipe, random: np.random.Generator, guides: Sequence[Tensor]) -> Tensor:
    """Guides first, then random smooth pictures; made orthonormal for each picture."""
    smooth = _smooth_pictures(recipe.directions, tuple(seen.shape), recipe.frequencies, random)
    together = torch.stack([*guides, *torch.from_numpy(smooth)])
    flat = together.flatten(2).transpose(0, 1)  # (count, number, pixels)
    orthonormal = torch.linalg.qr(flat.transpose(1, 2)).Q.transpose(1, 2)
    directions: Tensor = orthonormal.transpose(0, 1).reshape(together.shape)
    return directions


def _smooth_pictures(
    number: int, shape: tuple[int, ...], frequencies: int, random: np.random.Generator
) -> NDArray[np.float32]:
    count, channels, height, width = shape
    spectrum = np.zeros((number, count, channels, height, width))
    spectrum[..., :frequencies, :frequencies] = random.normal(size=(number, count, channels, frequencies, frequencies))
    smooth: NDArray[np.float32] = idctn(spectrum, axes=(-2, -1), norm="ortho").astype(np.float32)
    return smooth


def _in_unit(pictures: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (pictures * 0.5 + 0.5).contiguous().numpy()
    return found
