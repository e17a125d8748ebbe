"""What a campaign has to know of a model before it begins, found out in a process of its own.

The file may be anybody's: parsers, shape inference and the first run are native code, so they run where they can do no
harm (`shared.isolation`), released models included, which makes the answer the same for all.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from services.security.bit_error_campaigns.picture_inputs import PictureParameters, UnusableClassifier
from services.security.bit_error_campaigns.schemas import ClassifierFacts
from services.security.bit_errors.faults import FaultKind, Layout
from shared.isolation import run_isolated_async
from shared.runtime.inspection.preparation import TrialLimits

_MODULE: Final = "services.security.bit_error_campaigns.isolated_outline"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class LayerOutline(_Part):
    """A layer whose weights are in the memory."""

    name: str
    operator: str
    weights: int
    dtype: str
    bytes_of_graph: bool = Field(description="Whether the graph itself stores eight bits")


class Timing(_Part):
    """What a network costs here, in seconds."""

    perturb_s: float
    load_s: float
    batch_s: float
    batch: int

    def seconds(self, *, networks: int, pictures: int) -> float:
        """Of so many networks that see so many pictures each."""
        return networks * (self.perturb_s + self.load_s + pictures / self.batch * self.batch_s)


class Outline(ClassifierFacts):
    """A classifier, as a campaign sees it."""

    layers: list[LayerOutline]
    computed_layers: list[str]
    timing: Timing


async def outline_of(
    content: bytes, parameters: PictureParameters, *, kind: FaultKind, layout: Layout, limits: TrialLimits
) -> Outline:
    """Read, try and time a model.

    Args:
        content: a verified and prepared ONNX file.
        parameters: what is known beside.
        kind: of faults to time.
        layout: of faults to time.
        limits: of the process.

    Raises:
        UnusableClassifier: no campaign can be run on it.
    """
    request = {
        "parameters": parameters.model_dump(mode="json"),
        "kind": kind,
        "layout": layout,
        "threads": limits.threads,
        "memory_bytes": limits.memory_bytes,
    }
    try:
        found = await run_isolated_async(_MODULE, request, content, timeout_s=limits.timeout_s)
    except TimeoutError:
        raise UnusableClassifier(f"it was not read and run within {limits.timeout_s:g} s") from None
    if found is None:
        raise UnusableClassifier("it ended the process that ran it; it may need more memory than is given")
    if "unusable" in found[0]:
        raise UnusableClassifier(found[0]["unusable"])
    return Outline.model_validate(found[0]["outline"])


def facts_of(outline: Outline) -> ClassifierFacts:
    """What a job needs of an outline."""
    return ClassifierFacts.model_validate(outline.model_dump(include=set(ClassifierFacts.model_fields)))
