"""Content words of captions, and captions as weighted bags of them.

A content word is a word of `split_words` that has a letter and is not in the fixed list of function words below, in the
singular. There is no tagger of parts of speech: nouns are content words, and so are verbs, adjectives and colours. So a
rule that asks that no content word survives is stricter than one that asks it of nouns.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from shared.captions.words import split_words

FUNCTION_WORDS: Final = frozenset(
    """
    a an the this that these those some any each every all both another other no not n't
    i you he she it we they me him her us them my your his hers its our their himself herself itself themselves
    who whom whose which what there here one ones someone something
    of in on at by to from with without into onto over under above below up down off out through across along around
    between behind beside near next against toward towards during while for about after before as than
    and or but nor so if because when where
    is are was were be been being am do does did done has have had having
    can could will would shall should may might must
    's 're 've 'll 'd 'm
    two three four five six seven eight nine ten several many few more most very too also just
    """.split()  # noqa: SIM905 - a list of 150 lines is no easier to read
)

_IRREGULAR: Final = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
}
_LETTER: Final = re.compile(r"[^\W\d_]")


def content_words(caption: str) -> list[str]:
    """Content words of a caption in the singular, in its order, as often as they occur."""
    words = [word for word in split_words(caption) if word not in FUNCTION_WORDS and _LETTER.search(word)]
    return [singular(word) for word in words]


def singular(word: str) -> str:
    """A word without its plural ending, so that `dogs` and `dog` are one word.

    The rules of Harman's S-stemmer (1991), of which the first that fits is applied, after a few irregular nouns and
    the endings that take a syllable more (`beaches`, `dresses`).
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4:
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


def inverse_document_frequencies(captions: Sequence[Sequence[str]]) -> dict[str, float]:
    """How rare content words are: ln((1 + N) / (1 + n)) + 1 for a word of the captions of n of N pictures.

    Args:
        captions: by picture.
    """
    counts: Counter[str] = Counter()
    for those in captions:
        counts.update({word for caption in those for word in content_words(caption)})
    return {word: math.log((1 + len(captions)) / (1 + count)) + 1 for word, count in counts.items()}


def cosine_of_content(caption: str, other: str, weights: Mapping[str, float] | None = None) -> float:
    """Cosine of the content words of two captions, counts times weights, in [0, 1].

    Args:
        caption: one.
        other: the other.
        weights: inverse document frequencies, above 0; a word that has none weighs as much as the rarest. Without them
            all words weigh the same.

    Returns:
        0 if one of them has no content words, 1 if neither has any.
    """
    mine, theirs = _weigh(content_words(caption), weights), _weigh(content_words(other), weights)
    if not mine or not theirs:
        return float(not mine and not theirs)
    product = sum(mine[word] * theirs[word] for word in mine.keys() & theirs.keys())
    return min(1.0, product / (math.hypot(*mine.values()) * math.hypot(*theirs.values())))


def _weigh(words: Sequence[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    if not weights:
        return {word: float(count) for word, count in Counter(words).items()}
    rarest = max(weights.values())
    return {word: count * weights.get(word, rarest) for word, count in Counter(words).items()}
