"""One result in every format that a route offers, each made when it is asked for.

A caller who wants figures and picture of one computation asks for JSON with `store=png`: the answer then links to the
picture, and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field
from starlette.responses import Response

from shared.answers.stored_files import AnswerFile, AnswerFiles
from shared.http.files import ModelIdentity, file_response, json_response
from shared.http.negotiation import DICOM, JSON, NPY, PNG
from shared.problems import field_problem
from shared.request_context import current_caller
from shared.telemetry.timing import timed

STORE_HELP: Final = (
    "Formats in which the same result is stored beside a JSON answer: `files` then links to them, for as long as "
    "results of jobs are kept. Send the field again for each"
)
"""Description of the option `store`."""

_MEDIA_TYPES: Final[Mapping[str, str]] = {"png": PNG, "npy": NPY, "dicom": DICOM}

RunInThread = Callable[..., Awaitable[Any]]


class LinkedAnswer(BaseModel):
    """What answers have in common that can link to stored files."""

    files: dict[str, AnswerFile] = Field(default={}, description="What `store` asked for, by extension: png, npy, dcm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Representations:
    """What can be answered of one result. Functions block, and are run in threads.

    Attributes:
        describe: makes the JSON answer.
        encode: makes the file of a media type.
        name: stem of the names of files.
        model: that made the result.
        notice: what whoever sees a file must know; ASCII.
    """

    describe: Callable[[], LinkedAnswer]
    encode: Callable[[str], bytes]
    name: str
    model: ModelIdentity | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a result is wanted.

    Attributes:
        media_type: of the answer.
        stored: media types of further files, in a JSON answer.
    """

    media_type: str
    stored: tuple[str, ...] = ()

    @classmethod
    def of(cls, media_type: str, store: Sequence[str]) -> Wish:
        """What the Accept header and the option `store` say.

        Raises:
            UnprocessableContent: files are to be stored, and the answer has no place for links to them.
        """
        if store and media_type != JSON:
            detail = "Only a JSON answer can link to stored files: accept application/json, or leave `store` out."
            raise field_problem("/body/store", detail)
        return cls(media_type, tuple(dict.fromkeys(_MEDIA_TYPES[one] for one in store)))


async def respond(
    represent: Callable[[], Representations], wish: Wish, *, files: AnswerFiles, run: RunInThread
) -> Response:
    """Finish a computation and answer with what came of it.

    Args:
        represent: finishes it; blocks.
        wish: what is wanted.
        files: where stored files go.
        run: runs a function in a thread, such as `Admission.run`.

    Raises:
        ServiceUnavailable: files cannot be stored.
    """
    if not wish.stored:
        response: Response = await run(_answer, represent, wish.media_type)
        return response
    answer, contents, name = await run(_encode, represent, wish.stored)
    answer.files = await files.add(contents, name=name, owner=current_caller())
    return json_response(answer)


def _answer(represent: Callable[[], Representations], media_type: str) -> Response:
    result = represent()
    with timed("post"):
        if media_type == JSON:
            return json_response(result.describe())
        content = result.encode(media_type)
        return file_response(content, media_type, name=result.name, model=result.model, notice=result.notice)


def _encode(
    represent: Callable[[], Representations], stored: Sequence[str]
) -> tuple[LinkedAnswer, dict[str, bytes], str]:
    result = represent()
    with timed("post"):
        return result.describe(), {one: result.encode(one) for one in stored}, result.name
