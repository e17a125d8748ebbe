"""What the captioning route takes and gives."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.http.route_parts import File
from shared.runtime.cards import ModelReference

BATCH_LIMIT: Final = 32
"""Most pictures in one request."""

MOST_BEAMS: Final = 10
MOST_WORDS: Final = 60
MOST_MAPPED: Final = 8
"""Most captions in one answer whose words come with maps."""

AttentionKind = Literal["none", "values", "png"]


class CaptionOptions(BaseModel):
    """How to caption."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None,
        description="A captioner of `/v1/models`, released or uploaded: the model whose card has "
        "`parameters.captioning` with the role `decoder`; unless given, the first by name",
    )
    beams: int = Field(
        default=3,
        ge=1,
        le=MOST_BEAMS,
        description="Captions that are followed at once, for each picture; with 1 each word is the most likely one",
    )
    captions: int = Field(
        default=1, ge=1, le=MOST_BEAMS, description="Captions wanted of each picture, the best first; at most `beams`"
    )
    most_words: int = Field(
        default=20,
        ge=1,
        le=MOST_WORDS,
        description="Longest caption; one that gets as long as this ends there, whatever that does to its probability",
    )
    attention: AttentionKind = Field(
        default="none",
        description="Where the captioner looked for each word: `values` for a grid of shares, `png` for a grey picture "
        f"in base64 that fits the posted one (of at most {MOST_MAPPED} captions in one answer)",
    )


class CaptionForm(CaptionOptions):
    """Multipart form of POST /v1/perception/captions."""

    file: list[File] = Field(
        min_length=1, max_length=BATCH_LIMIT, description="Pictures: PNG, JPEG or WebP, of any size"
    )


class CaptionWord(BaseModel):
    """One word of a caption."""

    word: str = Field(description="As the captioner's vocabulary has it", examples=["dog"])
    log_probability: float = Field(le=0, description="Natural logarithm, given the words before", examples=[-0.35])
    attention: list[list[float]] | None = Field(
        description="Rows of shares that sum to 1, laid over `seen` of the picture; null unless asked for by "
        "`attention=values`"
    )
    attention_png: str | None = Field(
        description="The same as a PNG in base64, grey, of `map_width` x `map_height` of the picture: white is the "
        "place that was looked at most for this word, black what was not looked at or not seen; null unless asked for "
        "by `attention=png`",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )


class Caption(BaseModel):
    """One caption."""

    text: str = Field(description="Lower case, without punctuation", examples=["a dog runs on the grass"])
    log_probability: float = Field(le=0, description="Of all words and the end", examples=[-6.2])
    score: float = Field(description="What captions are ranked by: that over (words + end) to the `length_power`")
    end_log_probability: float = Field(le=0, description="That the caption ends behind its last word")
    words: list[CaptionWord] = Field(description="In their order")


class SeenRegion(BaseModel):
    """What the captioner saw of a picture, in its pixels, upright."""

    left: float = Field(description="Left edge")
    top: float = Field(description="Upper edge")
    right: float = Field(description="Right edge")
    bottom: float = Field(description="Lower edge")


class CaptionedPicture(BaseModel):
    """The captions of one picture."""

    index: int = Field(ge=0, description="Position of the file in the request")
    width: int = Field(ge=1, description="Of the posted picture, upright, in pixels")
    height: int = Field(ge=1, description="Of it")
    seen: SeenRegion = Field(description="What was seen of it: the grid of places is laid over this")
    map_width: int = Field(ge=1, description="Of maps: that of the picture, or less where a side is longer than 512")
    map_height: int = Field(ge=1, description="Of maps")
    captions: list[Caption] = Field(description="The best first")


class Grid(BaseModel):
    """Places that the captioner looks at."""

    rows: int = Field(ge=1, description="From top to bottom")
    columns: int = Field(ge=1, description="From left to right")


class CaptionAnswer(BaseModel):
    """The captions of every picture."""

    pictures: list[CaptionedPicture] = Field(description="One for each picture, in their order")
    grid: Grid = Field(description="Of attention, the same for all pictures")
    length_power: float = Field(description="See `score`")
    model: ModelReference = Field(description="The captioner: the model that writes words")
    encoder: ModelReference = Field(description="The model that reads pictures for it")
    caveats: list[str] = Field(description="What to keep in mind about this answer")
