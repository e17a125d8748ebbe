"""How plans may be changed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.deployments.desired_state import Deployment, DesiredState, require_alias, require_interchangeable
from shared.problems import Conflict, NotFound, UnprocessableContent
from shared.runtime.cards import UploadedCard
from shared.runtime.models.version_routing import Canary
from tests.support.own_models import own_card, scale


def card(version: str = "1.0.0", **changes: Any) -> UploadedCard:
    return UploadedCard.model_validate(own_card(scale(2), version=version) | changes)


def plan(*versions: str) -> DesiredState:
    made = DesiredState()
    for version in versions:
        made = made.with_upload(Deployment(card(version), "sha256:a"))
    return made


def test_the_same_upload_again_changes_nothing() -> None:
    before = plan("1.0.0")
    assert before.with_upload(Deployment(card(), "sha256:a", loaded=False)) is before


def test_another_file_or_card_under_the_same_version_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="another file"):
        plan("1.0.0").with_upload(Deployment(card(), "sha256:b"))
    with pytest.raises(Conflict, match="another card"):
        plan("1.0.0").with_upload(Deployment(card(task="Other"), "sha256:a"))


def test_what_an_alias_or_a_canary_names_stays() -> None:
    named = plan("1.0.0", "1.1.0").with_alias("scale", "default", "1.0.0").with_canary("scale", Canary("1.1.0", 0.1))
    for version, reason in (("1.0.0", "alias default"), ("1.1.0", "is the canary")):
        with pytest.raises(Conflict, match=reason):
            named.without("scale", version)
        with pytest.raises(Conflict, match=reason):
            named.with_loaded("scale", version, loaded=False)
    free = named.without_alias("scale", "default").without_canary("scale")
    assert free == plan("1.0.0", "1.1.0")
    assert free.without("scale", "1.0.0").deployments.keys() == {("scale", "1.1.0")}


def test_loading_and_unloading_keep_the_rest() -> None:
    unloaded = plan("1.0.0").with_loaded("scale", "1.0.0", loaded=False)
    assert not unloaded.deployment("scale", "1.0.0").loaded
    again = unloaded.with_another_try("scale", "1.0.0").deployment("scale", "1.0.0")
    assert (again.loaded, again.attempt) == (True, 1)


def test_what_is_not_there_cannot_be_changed() -> None:
    with pytest.raises(NotFound):
        plan().without("scale", "1.0.0")
    with pytest.raises(NotFound):
        plan().with_loaded("scale", "1.0.0", loaded=True)
    with pytest.raises(NotFound):
        plan().without_alias("scale", "default")
    with pytest.raises(NotFound):
        plan().without_canary("scale")


def test_versions_take_and_give_the_same() -> None:
    tensor = card().inputs[0].model_dump()
    require_interchangeable(card("1.1.0", inputs=[tensor | {"shape": ["rows", 4], "unit": "other"}]), [card()])
    for change in ({"name": "z"}, {"dtype": "float64"}, {"shape": ["batch", 5]}, {"shape": ["batch", "width"]}):
        with pytest.raises(UnprocessableContent) as refused:
            require_interchangeable(card("1.1.0", inputs=[tensor | change]), [card()])
        assert refused.value.errors[0].pointer == "/body/card/inputs"


@pytest.mark.parametrize("alias", ["1.0.0", "", "Default", "a/b", "a" * 65, "-a", "ä", "a\n"])
def test_an_alias_is_never_a_version(alias: str) -> None:
    with pytest.raises(UnprocessableContent):
        require_alias(alias)
    require_alias("blue-2")
