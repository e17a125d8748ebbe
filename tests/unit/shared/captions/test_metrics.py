"""Metrics beside what COCO's evaluation (pycocoevalcap 1.2, its Java programs included) says of the same captions.

The figures were computed by that package and noted here.
"""

from __future__ import annotations

import numpy as np
import pytest

from shared.captions.bleu import corpus_bleu, sentence_bleu
from shared.captions.cider import cider_d, document_frequencies
from shared.captions.corpus import measure_corpus
from shared.captions.rouge import common_length, rouge_l

CASES = (
    (
        "a dog runs through the grass",
        (
            "a brown dog is running through the tall grass",
            "the dog runs across a green field",
            "a dog running in grass",
        ),
    ),
    (
        "two men are playing football on a field",
        ("two men play soccer", "a man kicks a ball while another man watches on the field"),
    ),
    (
        "a the a the a the a the",
        ("a child climbs the stairs", "a little girl goes into the house", "the girl and the boy"),
    ),
    ("red", ("a red car", "red")),
    (
        "a man in a blue shirt stands on top of a mountain and looks at the sky above the clouds with a dog",
        ("a man stands on a mountain", "man on mountain"),
    ),
    ("people sit at tables", ("the quick brown fox jumps", "nothing here matches it")),
    (
        "a boy jumps into the swimming pool",
        (
            "a young boy jumps into the pool",
            "a boy jumps into the swimming pool with his friends",
            "the boy in red jumps into the water",
        ),
    ),
)
CANDIDATES = [candidate.split() for candidate, _ in CASES]
REFERENCES = [[one.split() for one in references] for _, references in CASES]

BLEU = [0.4912280701668206, 0.3573783684567646, 0.24392591933830657, 0.19770268228423302]
CIDER = [
    1.7262588809022152,
    0.7597377483893247,
    0.11121474036210874,
    1.8886613759798976,
    0.016969030089571714,
    0.0,
    4.439213616024295,
]
ROUGE = [
    0.6777777777777778,
    0.3546511627906977,
    0.32105263157894737,
    1.0,
    0.46270543615676357,
    0.0,
    0.9104477611940297,
]


def test_figures_are_those_of_cocos_evaluation() -> None:
    np.testing.assert_allclose(corpus_bleu(CANDIDATES, REFERENCES), BLEU, rtol=1e-9)
    np.testing.assert_allclose(cider_d(CANDIDATES, REFERENCES), CIDER, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(rouge_l(CANDIDATES, REFERENCES), ROUGE, rtol=1e-12)


def test_a_corpus_has_the_figures_by_name() -> None:
    found = measure_corpus(CANDIDATES, REFERENCES)
    assert found["BLEU-4"] == pytest.approx(BLEU[3])
    assert found["CIDEr-D"] == pytest.approx(np.mean(CIDER))
    assert found["ROUGE-L"] == pytest.approx(np.mean(ROUGE))


def test_a_caption_that_is_a_reference_has_the_highest_bleu() -> None:
    assert sentence_bleu(CANDIDATES[3], REFERENCES[3], smoothing=0) == pytest.approx([1, 0, 0, 0])
    whole = REFERENCES[1][1]
    assert sentence_bleu(whole, REFERENCES[1]) == pytest.approx([1, 1, 1, 1])


def test_smoothing_ranks_captions_that_share_no_four_words() -> None:
    near, far = CANDIDATES[0], ["a", "cat", "sleeps", "on", "the", "sofa"]
    assert sentence_bleu(near, REFERENCES[0], smoothing=0)[3] == sentence_bleu(far, REFERENCES[0], smoothing=0)[3] == 0
    assert sentence_bleu(near, REFERENCES[0])[3] > sentence_bleu(far, REFERENCES[0])[3] > 0


def test_smoothing_by_hand() -> None:
    # One of two words, none of one pair; 1, 1 with one added to each: (1/2 * 1/2) ** 1/2.
    assert sentence_bleu(["a", "b"], [["a", "c"]])[:2] == pytest.approx([0.5, 0.5])


def test_an_empty_caption_scores_nothing() -> None:
    assert sentence_bleu([], REFERENCES[0]) == [0, 0, 0, 0]
    assert corpus_bleu([[]], REFERENCES[:1]) == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert rouge_l([[]], REFERENCES[:1]) == [0]
    assert cider_d([[], ["a"]], REFERENCES[:2])[0] == 0


def test_rarity_can_come_from_another_corpus() -> None:
    alone = cider_d(CANDIDATES[:1], REFERENCES[:1])
    assert alone == [0]  # with one picture no word is rare
    known = document_frequencies(REFERENCES)
    assert cider_d(CANDIDATES[:1], REFERENCES[:1], known) == pytest.approx(CIDER[:1])


def test_common_subsequences() -> None:
    assert common_length(["a", "b", "c", "b", "d", "a", "b"], ["b", "d", "c", "a", "b", "a"]) == 4
    assert common_length([], ["a"]) == common_length(["a"], []) == 0


@pytest.mark.parametrize(("candidates", "references"), [([], []), ([["a"]], []), ([["a"]], [[]])])
def test_captions_without_references_are_refused(
    candidates: list[list[str]], references: list[list[list[str]]]
) -> None:
    for metric in (corpus_bleu, rouge_l, cider_d):
        with pytest.raises(ValueError, match="references"):
            metric(candidates, references)
