"""Captions as words, and the words that a captioner knows."""

from __future__ import annotations

import pytest

from services.perception.captioning.vocabulary import SPECIALS, UNKNOWN, Vocabulary, build_vocabulary
from shared.captions.words import join_words, split_words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A child in a pink dress is climbing up a set of stairs in an entry way .", None),
        ("A man's T-shirt, and two dogs!", ["a", "man", "'s", "t-shirt", "and", "two", "dogs"]),
        ("They don't look; it’s 3 p.m", ["they", "do", "n't", "look", "it", "'s", "3", "p.m"]),
        ('The "dog" (brown) runs--fast ...', ["the", "dog", "brown", "runs", "fast"]),
        ("", []),
    ],
)
def test_words_of_a_caption(caption: str, words: list[str] | None) -> None:
    assert split_words(caption) == (caption.lower().split()[:-1] if words is None else words)


def test_joined_words_are_split_into_the_same_words() -> None:
    words = ["a", "man", "'s", "dog", "does", "n't", "run"]
    assert join_words(words) == "a man's dog doesn't run"
    assert split_words(join_words(words)) == words


def test_a_vocabulary_has_frequent_words_in_a_fixed_order() -> None:
    vocabulary = build_vocabulary([["b", "a", "c"], ["b", "a"], ["d", "b"]], minimum_count=2)
    assert vocabulary.words == (*SPECIALS, "b", "a")
    assert vocabulary.encode(["a", "d", "b"]) == [5, UNKNOWN, 4]
    assert vocabulary.decode([1, 5, 3, 4, 2, 0]) == ["a", "<unknown>", "b"]


@pytest.mark.parametrize("words", [("a", "b"), (*SPECIALS, "a", "a")])
def test_a_vocabulary_begins_with_its_specials_and_has_each_word_once(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="begins with"):
        Vocabulary(words)
