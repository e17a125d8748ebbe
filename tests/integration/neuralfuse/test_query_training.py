"""A generator tuned by queries alone: the classifiers are served, asked over HTTP, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from gateway.app import create_app as create_gateway
from services.perception.app import create_app as create_perception
from services.security.neuralfuse.training.generator_training import make_fuse
from services.security.neuralfuse.training.query_training import QueryRecipe, estimate_gradient, tune
from services.security.neuralfuse.training.served_classifiers import ServedClassifier
from shared.datasets.traffic_signs import Signs
from shared.fleet.budget import BudgetExhausted, QueryBudget
from shared.runtime.cards import ModelCard
from tests.integration.gateway.servers import serve
from tests.integration.protocol.conftest import settings_of, until_ready
from tests.support.capability import write_model
from tests.support.classifiers import CLASSES, SIDE, card_of, classifier

COMPLETE = {
    "paper": {"title": "-", "authors": "-", "url": "-"},
    "training": {"data": [], "procedure": "-", "seed": 0, "machine": "-", "hours": 0, "command": "-"},
    "quality": [],
    "parity": {"reference": "-", "max_abs_difference": 0},
    "latency": {"what": "-", "value_ms": 1, "machine": "-", "threads": 1},
    "limits": [],
    "choices": [],
}
RECIPE = QueryRecipe(steps=12, batch=8, directions=12, learning_rate=5e-3)


@pytest.fixture(scope="module")
def url(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway before a service with a classifier, nominal and of other weights as if at low voltage."""
    folder = tmp_path_factory.mktemp("queries")
    for name, seed in (("nominal", 0), ("low", 1)):
        content = classifier(seed=seed)
        card = ModelCard.model_validate(card_of(content, name=name) | COMPLETE)
        write_model(folder / "models" / "perception", card, content)
    with serve(create_perception(settings_of(folder, redis_server, models=str(folder / "models")))) as service:
        until_ready(service)
        with serve(create_gateway(settings_of(folder, redis_server, url=service))) as url:
            yield url


@pytest.fixture
def signs() -> Signs:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (64, SIDE, SIDE, 3), dtype=np.uint8)
    # One class, so that one shift for all pictures can lower the loss.
    return Signs(pictures, np.full(64, CLASSES - 1), np.full(64, -1, np.int64))


def test_answers_are_those_of_the_file_and_every_picture_counts(url: str) -> None:
    pictures = np.random.default_rng(0).random((5, 3, SIDE, SIDE), dtype=np.float32)
    expected = onnxruntime.InferenceSession(classifier()).run(None, {"pictures": pictures})[0]
    budget = QueryBudget(7)
    with httpx.Client(base_url=url) as http:
        served = ServedClassifier(http, "nominal", budget)
        np.testing.assert_allclose(served(pictures), expected, rtol=1e-5, atol=1e-6)
        assert budget.spent == 5
        with pytest.raises(BudgetExhausted):
            served(pictures)
        assert budget.spent == 5
        with pytest.raises(httpx.HTTPStatusError):
            ServedClassifier(http, "nobody", budget)(pictures[:1])
        assert budget.spent == 6


def test_tuning_lowers_the_loss_and_spends_what_its_recipe_says(url: str, signs: Signs) -> None:
    torch.manual_seed(0)
    fuse, budget = make_fuse("constant-shift"), QueryBudget(100_000)
    with httpx.Client(base_url=url) as http:
        nominal, low = (ServedClassifier(http, name, budget) for name in ("nominal", "low"))
        recipe = replace(RECIPE, learning_rate=0.05)
        losses = [both for _, *both in tune(fuse, nominal, [low], signs, recipe)]
    assert len(losses) == recipe.steps
    assert np.mean(losses[-3:], axis=0)[1] < 0.9 * np.mean(losses[:3], axis=0)[1]
    # Without a surrogate one direction less is asked.
    assert budget.spent == recipe.queries(2) - recipe.steps * recipe.batch * 2


def test_an_exhausted_budget_ends_the_run_and_keeps_the_steps_before(url: str, signs: Signs) -> None:
    torch.manual_seed(0)
    fuse = make_fuse("constant-shift")
    each = RECIPE.batch * (RECIPE.directions + 1) * 2
    budget = QueryBudget(2 * each + 10)
    with httpx.Client(base_url=url) as http:
        nominal, low = (ServedClassifier(http, name, budget) for name in ("nominal", "low"))
        run = tune(fuse, nominal, [low], signs, RECIPE)
        assert [next(run)[0], next(run)[0]] == [1, 2]
        with pytest.raises(BudgetExhausted):
            next(run)
    assert budget.spent <= budget.limit
    assert any(parameter.abs().max() > 0 for parameter in fuse.parameters())


def test_the_estimate_is_the_gradient_where_directions_span_all() -> None:
    torch.manual_seed(0)
    pictures = (torch.rand(2, 3, 4, 4) - 0.5).requires_grad_()
    weights = torch.randn(4, 48)

    def answer(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = ((torch.from_numpy(pictures) * 2 - 1).flatten(1) @ weights.T).numpy()
        return logits

    classes = torch.tensor([1, 3])
    loss = functional.cross_entropy(pictures.flatten(1) @ weights.T, classes, reduction="none")
    loss.sum().backward()  # type: ignore[no-untyped-call]
    directions = torch.eye(48).reshape(48, 1, 3, 4, 4).expand(48, 2, 3, 4, 4)
    found, estimate = estimate_gradient(answer, pictures.detach(), classes, directions, distance=1e-3)
    assert found == pytest.approx(float(loss.detach().mean()), rel=1e-4)
    assert pictures.grad is not None
    torch.testing.assert_close(estimate, pictures.grad, rtol=0.05, atol=0.02)
