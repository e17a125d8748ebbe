"""All figures of a corpus that need nothing but NumPy, by the names that cards state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.captions.bleu import corpus_bleu
from shared.captions.cider import cider_d
from shared.captions.ngrams import Words
from shared.captions.rouge import rouge_l


def measure_corpus(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> dict[str, float]:
    """BLEU-1 to BLEU-4 and ROUGE-L in [0, 1], CIDEr-D in [0, 10] (papers often state 100 times either).

    Args:
        candidates: one caption of each picture.
        references: of each picture.
    """
    bleu = {f"BLEU-{size}": value for size, value in enumerate(corpus_bleu(candidates, references), start=1)}
    mean_rouge = float(np.mean(rouge_l(candidates, references)))
    return {**bleu, "ROUGE-L": mean_rouge, "CIDEr-D": float(np.mean(cider_d(candidates, references)))}
