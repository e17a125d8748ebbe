"""Which candidate is of which object, and what is drawn of them."""

from __future__ import annotations

import torch

from services.perception.detection.optimisation.matching import BACKGROUND, IGNORED, ignore_unsure, match, sample

OVERLAPS = torch.tensor([[0.8, 0.5, 0.2, 0.1, 0.0], [0.1, 0.75, 0.4, 0.2, 0.0], [0.0, 0.1, 0.2, 0.25, 0.0]])


def test_candidates_are_of_their_best_object_or_of_none() -> None:
    assert match(OVERLAPS, foreground=0.7, background=0.3).tolist() == [0, 1, IGNORED, BACKGROUND, BACKGROUND]
    kept = match(OVERLAPS, foreground=0.7, background=0.3, keep_best=True)
    assert kept.tolist() == [0, 1, IGNORED, 2, BACKGROUND]
    nothing = match(torch.zeros(2, 3), foreground=0.7, background=0.3, keep_best=True)
    assert nothing.tolist() == [BACKGROUND] * 3
    assert match(torch.zeros(0, 3), foreground=0.5, background=0.5).tolist() == [BACKGROUND] * 3


def test_background_on_an_unsure_object_is_ignored() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10], [0, 0, 5, 5]])
    matches, unsure = torch.tensor([0, BACKGROUND, BACKGROUND, BACKGROUND]), boxes[:1]
    found = ignore_unsure(matches, boxes, unsure, overlap=0.5)
    assert found.tolist() == [0, IGNORED, BACKGROUND, BACKGROUND]
    for none in (None, unsure[:0]):
        assert ignore_unsure(matches, boxes, none, overlap=0.5).tolist() == matches.tolist()


def test_samples_are_balanced_and_without_repeats() -> None:
    matches = torch.tensor([0] * 50 + [BACKGROUND] * 500 + [IGNORED] * 50)
    positives, negatives = sample(matches, count=64, positive_share=0.5)
    assert (len(positives), len(negatives)) == (32, 32)
    assert len(set(positives.tolist())) == 32
    assert bool((matches[positives] == 0).all())
    assert bool((matches[negatives] == BACKGROUND).all())
    few = sample(matches[45:], count=64, positive_share=0.5)
    assert [len(part) for part in few] == [5, 59]
    assert [len(part) for part in sample(matches[:0], count=64, positive_share=0.5)] == [0, 0]


def test_draws_follow_the_seed() -> None:
    matches = torch.tensor([0, BACKGROUND] * 100)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(torch.cat(sample(matches, count=20, positive_share=0.5)).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
