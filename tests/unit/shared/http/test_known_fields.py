"""A field that is not known is told apart from those that are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.http.known_fields import explain_unknown


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class View(Strict):
    azimuth: float = 0.0
    elevation: float = 0.0


class Plan(Strict):
    kind: Literal["plan"] = "plan"
    first: View | None = None
    views: list[View] = []
    scale: float = Field(default=1.0, alias="zoom")
    file: UploadFile | None = None


class Other(Strict):
    kind: Literal["other"] = "other"
    depth: int = 0


Either = Annotated[Plan | Other, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (View, {"colour": 1}, "This field is not known. Known are: azimuth, elevation."),
        (View, {"azimut": 1}, "This field is not known. Did you mean azimuth? Known are: azimuth, elevation."),
        (Plan, {"q": 1}, "This field is not known. Known are: file, first, kind, views, zoom."),
        (Plan, {"first": {"q": 1}}, "This field is not known. Known are: azimuth, elevation."),
        (Plan, {"views": [{}, {"q": 1}]}, "This field is not known. Known are: azimuth, elevation."),
        (Either, {"kind": "other", "q": 1}, "This field is not known. Known are: depth, kind."),
        (Either, {"kind": "plan", "views": [{"q": 1}]}, "This field is not known. Known are: azimuth, elevation."),
        (dict[str, View], {"a": {"q": 1}}, "This field is not known."),
    ],
)
def test_the_message_names_the_fields_of_the_place(annotation: Any, value: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(annotation).validate_python(value)
    (error,) = caught.value.errors()
    assert error["type"] == "extra_forbidden"
    assert explain_unknown(annotation, error["loc"]) == said
