"""Training of captioners on cached features, resumable after each epoch; tuning of the backbone's last stages.

A run without `tail_learning_rate` trains places and decoder on maps as they are. One with it goes on from a finished
run and trains the stages between the fine map and the coarse one too, from the cached fine map on: no photograph is
read again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from services.perception.captioning.decoding import DecodedCaption, SearchOptions, search_beams, search_greedily
from services.perception.captioning.training.data import Batch, CaptionSet, batches, make_batch
from services.perception.captioning.training.networks import Captioner, TorchSteps
from services.perception.captioning.vocabulary import PAD, build_vocabulary
from shared.captions.corpus import measure_corpus

_ROWS = 64
"""Photographs of a batch when nothing is learned."""


@dataclass(frozen=True, slots=True)
class CaptionRecipe:
    """Everything that decides the weights, beside the data and the run that is gone on from."""

    encoder: str = "lite0"
    decoder: str = "lstm"
    width: int = 384
    dropout: float = 0.3
    epochs: int = 20
    batch: int = 16
    """Photographs; each has five captions."""
    learning_rate: float = 5e-4
    tail_learning_rate: float = 0.0
    """Of the backbone's last stages; 0 leaves them as published."""
    weight_decay: float = 0.01
    warm_up: int = 400
    """Steps over which learning rates rise."""
    label_smoothing: float = 0.1
    coverage: float = 1.0
    """Weight of the doubly stochastic penalty: each place is to be looked at about once (Xu et al., equation 14)."""
    clip: float = 5.0
    """Largest norm of gradients."""
    minimum_count: int = 5
    """Of a word, to be in the vocabulary."""
    longest: int = 30
    """Words of a caption that are learned from."""
    seed: int = 0


class CaptionTraining:
    """One run; its folder gets checkpoint.pt, best.pt (best CIDEr-D on validation photographs) and log.jsonl.

    Args:
        recipe: what to do.
        training: photographs to learn from.
        validation: photographs measured after each epoch.
        channels: of the fine map and of the coarse one.
        folder: of the run.
        tail: published stages between the maps, needed with a `tail_learning_rate`.
        start: weights to go on from, as `weights_of_run` reads them; their vocabulary is that of the same data.
    """

    def __init__(
        self,
        recipe: CaptionRecipe,
        training: CaptionSet,
        validation: CaptionSet,
        channels: tuple[int, int],
        folder: Path,
        *,
        tail: nn.Module | None = None,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        if (recipe.tail_learning_rate > 0) != (tail is not None):
            raise ValueError("a tail and a tail_learning_rate come together")
        torch.manual_seed(recipe.seed)
        self.recipe, self.training, self.validation, self.folder = recipe, training, validation, folder
        captions = (words for those in training.captions for words in those)
        self.vocabulary = build_vocabulary(captions, minimum_count=recipe.minimum_count)
        self.captioner = make_captioner(recipe, channels, len(self.vocabulary), tail=tail)
        if start is not None:
            _load(self.captioner, start)
        self.optimiser = torch.optim.AdamW(_groups(self.captioner, recipe), weight_decay=recipe.weight_decay)
        self.epoch, self.seconds, self.best = 0, 0.0, -1.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Captioner:
        """Train to the last epoch, from where the folder's checkpoint left off."""
        self._resume()
        while self.epoch < self.recipe.epochs:
            began = time.monotonic()
            loss = self._pass()
            self.epoch += 1
            found = self.validate()
            self.seconds += time.monotonic() - began
            self._save(found["CIDEr-D"])
            self._log({"loss": loss, **found})
        return self.captioner.eval()

    def validate(self) -> dict[str, float]:
        """Mean negative log-probability of a word, and figures of captions that are searched greedily."""
        options = SearchOptions(maximum=self.recipe.longest)
        captions = describe(self.captioner, self.validation, options)
        words = [self.vocabulary.decode(caption.words) for caption in captions]
        found = measure_corpus(words, self.validation.captions)
        kept = {name: round(found[name], 4) for name in ("BLEU-4", "CIDEr-D")}
        return {"validation_loss": self._validation_loss(), **kept}

    def _pass(self) -> float:
        recipe = self.recipe
        torch.manual_seed(1000 * recipe.seed + self.epoch)  # dropout of an epoch is the same after a resume
        self.captioner.train()
        steps = len(self.training) // recipe.batch
        drawn = batches(
            self.training,
            self.vocabulary,
            size=recipe.batch,
            longest=recipe.longest,
            epoch=self.epoch,
            seed=recipe.seed,
        )
        losses = []
        for index, batch in enumerate(tqdm(drawn, total=steps, desc=f"epoch {self.epoch + 1}")):
            factor = schedule(self.epoch * steps + index, recipe, steps=steps * recipe.epochs)
            for group in self.optimiser.param_groups:
                group["lr"] = group["highest"] * factor
            losses.append(self._descend(batch))
        return float(np.mean(losses))

    def _descend(self, batch: Batch) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        logits, attention = self.captioner(batch.maps, batch.pictures, batch.words, batch.lengths)
        loss = word_loss(logits, batch.targets, smoothing=self.recipe.label_smoothing)
        penalty = (1 - attention.sum(dim=1)).square().mean()
        (loss + self.recipe.coverage * penalty).backward()
        nn.utils.clip_grad_norm_(self.captioner.parameters(), self.recipe.clip)
        self.optimiser.step()
        return float(loss.detach())

    @torch.no_grad()
    def _validation_loss(self) -> float:
        self.captioner.eval()
        total, count = 0.0, 0
        for chosen in _parts(len(self.validation)):
            batch = make_batch(
                self.validation, self.vocabulary, chosen, np.zeros_like(chosen), longest=self.recipe.longest
            )
            logits, _ = self.captioner(batch.maps, batch.pictures, batch.words, batch.lengths)
            words = int(batch.lengths.sum())
            total += float(word_loss(logits, batch.targets)) * words
            count += words
        return round(total / count, 4)

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe) or tuple(state["words"]) != self.vocabulary.words:
            raise ValueError(f"{path} belongs to a run with another recipe or other captions: {state['recipe']}")
        self.captioner.load_state_dict(state["captioner"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.seconds, self.best = state["epoch"], state["seconds"], state["best"]

    def _save(self, cider: float) -> None:
        state: dict[str, Any] = {
            "captioner": self.captioner.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best": max(self.best, cider),
            "recipe": asdict(self.recipe),
            "words": list(self.vocabulary.words),
        }
        if cider > self.best:
            save(state, self.folder / "best.pt")
        self.best = state["best"]
        save(state | {"optimiser": self.optimiser.state_dict()}, self.folder / "checkpoint.pt")

    def _log(self, found: Mapping[str, float]) -> None:
        row = {"epoch": self.epoch, "seconds": round(self.seconds), **found}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def make_captioner(
    recipe: CaptionRecipe, channels: tuple[int, int], words: int, *, tail: nn.Module | None = None
) -> Captioner:
    """An untrained captioner of a recipe."""
    return Captioner(
        recipe.decoder, words=words, channels=channels, width=recipe.width, dropout=recipe.dropout, tail=tail
    )


def describe(
    captioner: Captioner, data: CaptionSet, options: SearchOptions, *, beams: bool = False
) -> list[DecodedCaption]:
    """A caption of each photograph, greedily or the best of beams."""
    steps, found = TorchSteps(captioner), []
    for chosen in _parts(len(data)):
        states, contexts = steps.begin(*data.features.take(chosen, np.zeros_like(chosen)))
        if beams:
            found += [best[0] for best in search_beams(steps, states, contexts, options)]
        else:
            found += search_greedily(steps, states, contexts, options)
    return found


def word_loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the words that count; logits (words that count, vocabulary), caption after caption."""
    return functional.cross_entropy(logits, targets[targets != PAD], label_smoothing=smoothing)


def schedule(step: int, recipe: CaptionRecipe, *, steps: int) -> float:
    """Factor of learning rates: linear warm-up, then a cosine down to zero after `steps` steps."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    course = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
    return 0.5 * (1 + math.cos(math.pi * course))


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that a crash leaves either the old one or the new one."""
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


def _groups(captioner: Captioner, recipe: CaptionRecipe) -> list[dict[str, Any]]:
    tail = list(captioner.tail.parameters()) if captioner.tail is not None else []
    known = {id(parameter) for parameter in tail}
    rest = [parameter for parameter in captioner.parameters() if id(parameter) not in known]
    groups = [{"params": rest, "highest": recipe.learning_rate}]
    return [*groups, {"params": tail, "highest": recipe.tail_learning_rate}] if tail else groups


def _load(captioner: Captioner, weights: Mapping[str, Tensor]) -> None:
    """Weights of a run, which may have had no tail."""
    missing, unexpected = captioner.load_state_dict(dict(weights), strict=False)
    wrong = [name for name in [*missing, *unexpected] if not name.startswith("tail.")]
    if wrong:
        raise ValueError(f"the run that is gone on from does not fit: {wrong}")


def _parts(count: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS)]
