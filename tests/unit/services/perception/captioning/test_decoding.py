"""Searches beside all captions there are, on vocabularies so small that these can be counted."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.perception.captioning.decoding import (
    Arrays,
    SearchOptions,
    Step,
    search_beams,
    search_greedily,
)
from services.perception.captioning.vocabulary import END, FORBIDDEN, START

WORDS = 7
PLACES = 3


class History:
    """A language of random log-probabilities, which depend on the picture and on every word before.

    The state of a row is the number that its words so far spell.
    """

    def __init__(self, seed: int, pictures: int) -> None:
        self.seed, self.pictures, self.rows = seed, pictures, 0

    def begin(self) -> tuple[Arrays, Arrays]:
        return (np.zeros(self.pictures, np.int64),), (np.arange(self.pictures),)

    def __call__(self, words: NDArray[np.int64], states: Arrays, contexts: Arrays) -> Step:
        self.rows += len(words)
        spelled = states[0] * WORDS + words
        answers = [self.answer(int(picture), int(text)) for picture, text in zip(contexts[0], spelled, strict=True)]
        likely, attention = (np.stack(part) for part in zip(*answers, strict=True))
        return Step(likely, attention, (spelled,))

    def answer(self, picture: int, text: int) -> tuple[NDArray[Any], NDArray[Any]]:
        random = np.random.default_rng((self.seed, picture, text))
        return np.log(random.dirichlet(np.full(WORDS, 0.5)) + 1e-12), random.dirichlet(np.ones(PLACES))

    def probability(self, picture: int, words: tuple[int, ...]) -> list[float]:
        text, found = START, []
        for word in (*words, END):
            found.append(float(self.answer(picture, text)[0][word]))
            text = text * WORDS + word
        return found


def all_captions(options: SearchOptions) -> list[tuple[int, ...]]:
    letters = [word for word in range(WORDS) if word not in {*FORBIDDEN, END}]
    lengths = range(options.minimum, options.maximum + 1)
    return [caption for length in lengths for caption in product(letters, repeat=length)]


def ranked(language: History, picture: int, options: SearchOptions) -> list[tuple[float, tuple[int, ...]]]:
    power = options.length_power
    captions = all_captions(options)
    scored = [(sum(language.probability(picture, one)) / (len(one) + 1) ** power, one) for one in captions]
    return sorted(scored, reverse=True)


@pytest.mark.parametrize("length_power", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("minimum", [0, 2])
def test_beams_wide_enough_find_the_best_of_all_captions(length_power: float, minimum: int) -> None:
    options = SearchOptions(width=40, maximum=3, minimum=minimum, length_power=length_power)
    for seed in range(5):
        language = History(seed, pictures=4)
        for picture, found in enumerate(search_beams(language, *language.begin(), options)):
            best = ranked(language, picture, options)
            assert len(found) == len(best) == (40 if minimum == 0 else 36)
            assert [one.words for one in found] == [words for _, words in best]
            np.testing.assert_allclose([one.score for one in found], [score for score, _ in best], rtol=1e-9)


def test_log_probabilities_and_attention_are_those_of_each_word() -> None:
    language = History(3, pictures=5)
    for picture, captions in enumerate(search_beams(language, *language.begin(), SearchOptions(width=4, maximum=4))):
        for caption in captions:
            np.testing.assert_allclose(caption.log_probabilities, language.probability(picture, caption.words))
            text = START
            for word, attention in zip(caption.words, caption.attention, strict=True):
                np.testing.assert_allclose(attention, language.answer(picture, text)[1], rtol=1e-6)
                text = text * WORDS + word


def test_a_greedy_search_takes_the_likeliest_word_each_time() -> None:
    language, options = History(1, pictures=20), SearchOptions(maximum=5, minimum=1)
    found = search_greedily(language, *language.begin(), options)
    for picture, caption in enumerate(found):
        text = START
        words: list[int] = []
        while True:
            likely = language.answer(picture, text)[0].copy()
            likely[list(FORBIDDEN)] = -np.inf
            likely[END] = -np.inf if not words else likely[END]
            word = END if len(words) == options.maximum else int(likely.argmax())
            if word == END:
                break
            words.append(word)
            text = text * WORDS + word
        assert caption.words == tuple(words)
        assert caption.attention.shape == (len(words), PLACES)
        np.testing.assert_allclose(caption.log_probabilities, language.probability(picture, caption.words))


def test_one_beam_without_a_length_power_is_the_greedy_search() -> None:
    language, options = History(2, pictures=10), SearchOptions(width=1, maximum=6, length_power=0)
    greedy = search_greedily(language, *language.begin(), options)
    beams = search_beams(language, *language.begin(), options)
    assert [one.words for one in greedy] == [best.words for (best,) in beams]


def test_pictures_that_are_done_are_not_computed_any_more() -> None:
    language, options = History(1, pictures=20), SearchOptions(maximum=12)
    found = search_greedily(language, *language.begin(), options)
    assert language.rows == sum(len(one.log_probabilities) for one in found)


def test_a_picture_is_captioned_alike_alone_and_among_others() -> None:
    language, options = History(4, pictures=6), SearchOptions(width=3, maximum=5)
    together = search_beams(language, *language.begin(), options)
    for picture in range(6):
        (alone,) = search_beams(language, (np.zeros(1, np.int64),), (np.array([picture]),), options)
        assert [one.words for one in alone] == [one.words for one in together[picture]]


@pytest.mark.parametrize("wrong", [{"width": 0}, {"minimum": 3, "maximum": 2}, {"minimum": -1}, {"maximum": 0}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SearchOptions(**wrong)  # type: ignore[arg-type]
