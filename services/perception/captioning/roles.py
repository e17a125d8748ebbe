"""What the card of a model says of its part in captioning: `parameters.captioning`.

A captioner is two models. The encoder's one input is pictures, float32 (batch, 3, height, width) in [0, 1], cut and
scaled as `parameters.preprocessing` of its card says; its outputs are contexts and first states. The decoder's inputs
are `words` int64 (batch,), and what the encoder gives, by the same names; its outputs are `log_probabilities` (batch,
words), `attention` (batch, places), and `next_<name>` for each state. Contexts stay as they are from word to word. The
decoder names its encoder with the digest of its file: no other would make sense to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from services.perception.captioning.decoding import SearchOptions
from shared.captions.words import join_words

PARAMETER: Final = "captioning"

WORDS: Final = "words"
"""Input of a decoder: the last word of each row."""

LOG_PROBABILITIES: Final = "log_probabilities"
ATTENTION: Final = "attention"

NEXT: Final = "next_"
"""Before the name of a state, the name of the output that replaces it."""

Number = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class EncoderRole(_Part):
    """Reads pictures."""

    role: Literal["encoder"] = "encoder"


class DecoderRole(_Part):
    """Writes words; the captioner is called by this model's name."""

    role: Literal["decoder"] = "decoder"
    encoder: str = Field(description="Name of the model that reads pictures for it")
    encoder_sha256: str = Field(description="Digest of that model's file", pattern="^[0-9a-f]{64}$")
    grid: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        description="Rows and columns of places, which are laid over what the encoder sees"
    )
    words: list[str] = Field(description="By number", min_length=2)
    joining: Literal["words", "word_pieces"] = Field(
        default="words",
        description="How words make a text: words with a space between them and clitics joined, or BERT's pieces, of "
        "which those with ## go on with the word before",
    )
    start: Number = Field(description="Number that every caption begins with")
    end: Number = Field(description="Number that ends a caption")
    forbidden: list[Number] = Field(description="Numbers that no caption holds", default=[])
    most_words: int = Field(description="Words that it can write", ge=1)
    length_power: float = Field(
        default=SearchOptions().length_power,
        ge=0,
        le=2,
        description="Captions are ranked by their log-probability over (words + end) to this power",
    )

    @model_validator(mode="after")
    def _require_numbers(self) -> DecoderRole:
        if max(self.start, self.end, *self.forbidden, 0) >= len(self.words):
            raise ValueError("start, end and forbidden are numbers of words")
        return self

    @property
    def places(self) -> int:
        """Of the grid."""
        return self.grid[0] * self.grid[1]

    def join(self, words: list[str]) -> str:
        """The text that words make."""
        return join_words(words) if self.joining == "words" else " ".join(words).replace(" ##", "")


Role = EncoderRole | DecoderRole

_ROLES: Final[TypeAdapter[Role]] = TypeAdapter(Annotated[Role, Field(discriminator="role")])


def read_role(parameters: dict[str, Any]) -> Role | None:
    """The part that the parameters of a card state; None where they state none.

    Raises:
        pydantic.ValidationError: they state one that is not understood.
    """
    stated = parameters.get(PARAMETER)
    return None if stated is None else _ROLES.validate_python(stated)
