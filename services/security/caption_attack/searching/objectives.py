"""What an attack makes small, and when it counts as a success.

A score is what is left of the clean meaning: in [0, 1], and an attack minimises it.

- `bleu4`: BLEU-4 of the caption. Counts of two words and more are raised by one (Lin and Och 2004, "smoothing 2" of
  Chen and Cherry 2014); without that it is zero for most captions of small captioners, whatever happens to them.
- `rouge_l`: ROUGE-L as F1, precision and recall alike: precision alone prefers short captions.
- `content_words`: cosine of TF-IDF weights of content words with the nearest reference. The attack maximises
  1 - cosine.
- `target_word`: 0 once the caption has a given word. Before that a caption says nothing of how near it is to the word,
  so the score is 1/2 + BLEU-4 / 2, which moves it away from what it says now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Final, Literal, get_args

from services.security.caption_attack.searching.content_words import content_words, cosine_of_content
from shared.captions.bleu import sentence_bleu
from shared.captions.rouge import rouge_l
from shared.captions.words import split_words

Fitness = Literal["bleu4", "rouge_l", "content_words", "target_word"]
Goal = Literal["caption_differs", "content_lost", "score_halved", "target_word"]
"""
- `caption_differs`: other words than any clean caption, or in another order; case and punctuation do not count.
- `content_lost`: no content word of a clean caption survives, and there was one.
- `score_halved`: the score has dropped by half of that of the clean caption, or more; never from a score of 0.
- `target_word`: the given word is there, and was in no clean caption.
"""

GOALS: Final[tuple[Goal, ...]] = get_args(Goal)
DROP: Final = 0.5
"""Share of the clean score that `score_halved` asks for."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Scores captions.

    Attributes:
        fitness: how.
        references: captions that are right, or the clean caption itself; at least one.
        weights: inverse document frequencies of content words, for `content_words`.
        target: the word that `target_word` wants, as `target_word_of` has it.

    Raises:
        ValueError: there are no references, or `target_word` has no target.
    """

    fitness: Fitness = "bleu4"
    references: Sequence[str]
    weights: Mapping[str, float] | None = None
    target: str | None = None
    _scores: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.references:
            raise ValueError("an objective needs a reference")
        if self.fitness == "target_word" and self.target is None:
            raise ValueError("the fitness target_word needs a target")

    def score(self, caption: str) -> float:
        """Score of a caption, in [0, 1]; an empty one has 0 unless the references are empty too."""
        if caption not in self._scores:
            self._scores[caption] = self._compute(caption)
        return self._scores[caption]

    def mean_score(self, captions: Sequence[str]) -> float:
        """Mean score of captions, at least one; of equal ones exactly theirs, which rounding would miss."""
        scores = [self.score(caption) for caption in captions]
        return scores[0] if len(set(scores)) == 1 else fmean(scores)

    def _compute(self, caption: str) -> float:
        if self.fitness == "content_words":
            return max(cosine_of_content(caption, reference, self.weights) for reference in self.references)
        words, references = split_words(caption), [split_words(reference) for reference in self.references]
        if self.fitness == "rouge_l":
            return rouge_l([words], [references], beta=1.0)[0]
        bleu4 = sentence_bleu(words, references)[-1]
        if self.fitness == "target_word":
            return 0.0 if self.target in words else 0.5 + bleu4 / 2
        return bleu4


@dataclass(frozen=True, kw_only=True)
class SuccessGoals:
    """Judges captions against clean ones.

    Attributes:
        clean: captions of the clean picture; several that differ if the captioner is not deterministic.
        clean_score: of these.
        target: a word, as `target_word_of` has it; without one `target_word` is not reached.
    """

    clean: Sequence[str]
    clean_score: float
    target: str | None = None
    _reached: dict[str, frozenset[Goal]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _clean_words(self) -> list[list[str]]:
        return [split_words(caption) for caption in self.clean]

    @cached_property
    def _clean_content(self) -> frozenset[str]:
        return frozenset(word for caption in self.clean for word in content_words(caption))

    def reached(self, captions: Sequence[str], score: float) -> frozenset[Goal]:
        """Goals that a picture reaches.

        Args:
            captions: of the picture, one or several; a goal of captions is reached if more than half of them reach it.
            score: their mean.
        """
        each = [self._reached_by(caption) for caption in captions]
        goals: set[Goal] = {goal for goal in GOALS if 2 * sum(goal in one for one in each) > len(each)}
        if self.clean_score > 0 and score <= (1 - DROP) * self.clean_score:
            goals.add("score_halved")
        return frozenset(goals)

    def _reached_by(self, caption: str) -> frozenset[Goal]:
        """Those that need no score; the same captions come again and again."""
        if caption not in self._reached:
            self._reached[caption] = frozenset(self._compare(caption))
        return self._reached[caption]

    def _compare(self, caption: str) -> Iterator[Goal]:
        words = split_words(caption)
        if words not in self._clean_words:
            yield "caption_differs"
        if self._clean_content and self._clean_content.isdisjoint(content_words(caption)):
            yield "content_lost"
        if self.target in words and not any(self.target in one for one in self._clean_words):
            yield "target_word"


def target_word_of(text: str) -> str:
    """A target as captions have it.

    Raises:
        ValueError: the text is not exactly one word.
    """
    words = split_words(text)
    if len(words) != 1:
        raise ValueError(f"a target is one word, and {text[:40]!r} has {len(words)}")
    return words[0]
