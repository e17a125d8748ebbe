"""Captions as words, alike for vocabulary, metrics and decoded captions.

Lower case; punctuation is left out, as COCO's evaluation does; hyphenated words stay whole; clitics stand apart (`man
's`, `do n't`), as the Penn Treebank has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CLITICS: Final = re.compile(r"(?<=\w)(n't|'s|'re|'ve|'ll|'d|'m)\b")
_WORDS: Final = re.compile(r"n't|'(?:s|re|ve|ll|d|m)\b|\w+(?:[-.,/&]\w+)*")
_APOSTROPHES: Final = str.maketrans({"\u2019": "'", "\u2018": "'", "_": " "})


def split_words(caption: str) -> list[str]:
    """Words of a caption."""
    plain = caption.lower().translate(_APOSTROPHES)
    return _WORDS.findall(_CLITICS.sub(r" \1", plain))


def join_words(words: Sequence[str]) -> str:
    """A caption of words; clitics are joined to the word in front of them."""
    return _JOINED.sub(r"\1", " ".join(words))


_JOINED: Final = re.compile(r" (n't|'(?:s|re|ve|ll|d|m))\b")
