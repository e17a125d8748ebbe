"""Asks a captioner of the fleet, as anybody else would: over HTTP, knowing no more than its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.security.caption_attack.captioners.prepaid_budget import PrepaidBudget
from shared.fleet.client import BlockingFleetClient
from shared.fleet.questions import Question
from shared.imaging.pictures import encode_png
from shared.problems import BadGateway, Conflict
from shared.runtime.cards import ModelReference

PATH: Final = "/v1/perception/captions"
MOST_PICTURES: Final = 32
"""That the route takes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionQuestion:
    """How a captioner of the fleet is asked.

    Attributes:
        model: its name; None for the default.
        beams: of its search; 1 is the quickest.
        most_words: longest caption.
    """

    model: str | None = None
    beams: int = 1
    most_words: int = 20

    def form(self, **further: str) -> dict[str, str]:
        """Fields of the form beside the pictures."""
        named = {} if self.model is None else {"model": self.model}
        return {"beams": str(self.beams), "most_words": str(self.most_words), **named, **further}


@dataclass(frozen=True)
class AttendedCaption:
    """A caption, and where the captioner looked for each of its words.

    Attributes:
        text: the caption.
        maps: (words, rows, columns), laid over the whole picture; what was not seen of it has 0.
    """

    text: str
    maps: NDArray[np.float64]


class FleetCaptioner:
    """A captioner of the fleet as a target of campaigns.

    Args:
        client: of the service, made with the same prepaid budget.
        budget: whose first try of each picture is spent by who asks.
        question: how it is asked.
    """

    def __init__(self, client: BlockingFleetClient, budget: PrepaidBudget, question: CaptionQuestion) -> None:
        self._client, self._budget, self._question = client, budget, question
        self.models: tuple[ModelReference, ModelReference] | None = None
        """Decoder and encoder that have answered; None before the first answer."""

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        """One caption of each picture, (h, w, 3) uint8, in order.

        Raises:
            BudgetExhausted: a further try is not allowed.
            Conflict: the captioner is another one than before.
            Problem: the service's own, or that it does not answer.
        """
        captions: list[str] = []
        for start in range(0, len(pictures), MOST_PICTURES):
            answer = self._ask(pictures[start : start + MOST_PICTURES], {})
            captions += [str(picture["captions"][0]["text"]) for picture in answer]
        return captions

    def attend(self, picture: NDArray[np.uint8]) -> AttendedCaption:
        """A caption with attention; one query, as any other, which who asks has spent.

        Raises:
            BudgetExhausted, Conflict, Problem: as `caption`.
        """
        (found,) = self._ask([picture], {"attention": "values"})
        caption, seen = found["captions"][0], found["seen"]
        maps = np.array([word["attention"] for word in caption["words"]], np.float64)
        box = (seen["left"], seen["top"], seen["right"], seen["bottom"])
        return AttendedCaption(str(caption["text"]), lay_over(maps, box, size=picture.shape[:2]))

    def _ask(self, pictures: Sequence[NDArray[np.uint8]], further: dict[str, str]) -> list[dict[str, Any]]:
        self._budget.prepay(len(pictures))
        # To compress populations would take a quarter of the time of the whole attack.
        files = [("file", encode_png(picture, level=0)) for picture in pictures]
        question = Question(path=PATH, files=files, form=self._question.form(**further), queries=len(pictures))
        content = self._client.ask(question).content
        try:
            answer = orjson.loads(content)
            models = ModelReference.model_validate(answer["model"]), ModelReference.model_validate(answer["encoder"])
            found: list[dict[str, Any]] = answer["pictures"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadGateway("The captioner of the fleet gave an answer that cannot be read.") from error
        if self.models not in (None, models):
            raise Conflict("The captioner was replaced while it was tested: nothing that was found holds for both.")
        self.models = models
        return found


def lay_over(
    maps: NDArray[np.float64], box: tuple[float, float, float, float], *, size: tuple[int, int]
) -> NDArray[np.float64]:
    """Maps of a part of a picture as maps of the whole.

    Args:
        maps: (words, rows, columns), laid over the part.
        box: left, top, right and bottom edge of the part, in pixels.
        size: height and width of the picture.

    Returns:
        The maps themselves where the part is the whole; else (words, height, width) with 0 outside the part.
    """
    height, width = size
    left, top, right, bottom = box
    if maps.size == 0 or (left <= 0 and top <= 0 and right >= width and bottom >= height):
        return maps
    rows, inside_rows = _cells(height, (top, bottom), maps.shape[1])
    columns, inside_columns = _cells(width, (left, right), maps.shape[2])
    laid: NDArray[np.float64] = maps[:, rows][:, :, columns] * (inside_rows[:, None] & inside_columns)
    return laid


def _cells(pixels: int, edges: tuple[float, float], cells: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The cell that each pixel's centre is in, and whether it is between the edges."""
    low, high = edges
    places = (np.arange(pixels) + 0.5 - low) / max(high - low, 1e-9)
    return np.clip(places * cells, 0, cells - 1).astype(np.intp), (places >= 0) & (places < 1)
