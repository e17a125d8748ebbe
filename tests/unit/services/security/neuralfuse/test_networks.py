"""What is kept of networks and weights: within its limit, and the most recent of it; what cards say of roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.security.bit_errors.faults import FaultModel
from services.security.neuralfuse.generators import default_base
from services.security.neuralfuse.graphs import prepare_graph
from services.security.neuralfuse.inference import PIXELS_OF_A_RUN, predict, require_affordable
from services.security.neuralfuse.networks import Network, Recent
from services.security.neuralfuse.roles import BaseRole, GeneratorRole, role_of
from shared.fleet.classifiers import describe_classifier
from shared.problems import ServiceUnavailable, UnprocessableContent
from shared.runtime.inspection.preparation import TrialLimits
from shared.runtime.models.registry import ModelRegistry
from tests.support.neuralfuse_models import (
    base_card,
    base_model,
    generator_card,
    generator_model,
    release_base,
    release_generators,
)


@pytest.fixture(scope="module")
def network() -> Network:
    content = base_model()
    prepared = prepare_graph(content, height=32, width=32, limits=TrialLimits())
    return Network.of(describe_classifier(base_card(content)), prepared, threads=1)


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    recent: Recent[bytes] = Recent(10, len)
    for key in "abc":
        recent.add(key, bytes(3))
    assert recent.get("a") == bytes(3)
    recent.add("d", bytes(3))
    assert [recent.get(key) is not None for key in "abcd"] == [True, False, True, True]
    assert recent.bytes == 9
    recent.add("large", bytes(11))
    assert (recent.get("large"), recent.bytes <= 10) == (None, True)


def test_a_value_that_is_too_large_leaves_the_others() -> None:
    recent: Recent[bytes] = Recent(10, len)
    recent.add("a", bytes(9))
    recent.add("large", bytes(11))
    assert recent.get("a") is not None
    assert recent.get("large") is None


def test_a_batch_that_is_cut_into_runs_says_what_each_picture_says(network: Network) -> None:
    pictures = np.random.default_rng(0).random((PIXELS_OF_A_RUN // 1024 + 3, 3, 32, 32), np.float32)
    faults = FaultModel(0.02)
    scores = predict(network, pictures, None, faults=faults, seeds=[1], read=lambda seed: network.read(faults, seed))
    few = predict(network, pictures[-2:], None, faults=faults, seeds=[1], read=lambda seed: network.read(faults, seed))
    np.testing.assert_allclose(scores.unprotected.low[0, -2:], few.unprotected.low[0], atol=1e-6)
    np.testing.assert_allclose(scores.unprotected.nominal[-2:], few.unprotected.nominal, atol=1e-6)


def test_the_cost_is_said_before_anything_is_computed(network: Network) -> None:
    assert network.macs is not None
    require_affordable(network, pictures=2, seeds=9, ways=2, most_macs=40 * network.macs)
    with pytest.raises(UnprocessableContent, match="40 runs"):
        require_affordable(network, pictures=2, seeds=9, ways=2, most_macs=40 * network.macs - 1)


@pytest.mark.parametrize(
    "stated", [None, "base", {}, {"role": "base"}, {"role": "generator", "architecture": "UNetL"}, {"role": "other"}]
)
def test_cards_that_say_nothing_or_nonsense_have_no_role(stated: Any) -> None:
    assert role_of(base_card(base_model(), network=None, neuralfuse=stated)) is None


def test_cards_say_what_a_model_is_for() -> None:
    assert role_of(base_card(base_model())) == BaseRole(network="vgg11")
    role = role_of(generator_card(generator_model(), "0" * 64))
    assert isinstance(role, GeneratorRole)
    assert (role.architecture, role.weight, role.faults.kind) == ("UNetL", 5, "stuck_at")


def test_while_models_load_the_default_is_asked_for_later_and_without_a_release_by_name(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path, threads=1)
    with pytest.raises(ServiceUnavailable, match="loading"):
        default_base(registry)
    registry.open()
    with pytest.raises(UnprocessableContent, match="No base model"):
        default_base(registry)


def test_of_several_bases_the_one_that_can_be_protected_is_asked(tmp_path: Path) -> None:
    release_base(tmp_path, name="first-by-name")
    release_generators(tmp_path, release_base(tmp_path, name="second"), base="second")
    registry = ModelRegistry(tmp_path, threads=1)
    registry.open()
    assert default_base(registry) == "second"
