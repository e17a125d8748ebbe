"""The stages of a recipe: what each draws, which losses it has, and what it is validated by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from services.medical.chest_xray.training.data.manifest import TAGS
from services.medical.chest_xray.training.networks.network import ChestXrayNetwork
from services.medical.chest_xray.training.stages.batches import Batch, Mixture, Source, to_films
from services.medical.chest_xray.training.stages.losses import (
    JointLoss,
    attention_loss,
    classification_loss,
    tag_loss,
    triplet_loss,
)
from services.medical.chest_xray.training.stages.recipes import Recipe
from services.medical.chest_xray.training.stages.training import Stage, StageOptions

_CHUNK = 16
"""Films of a pass where nothing is learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Films of one split: real, with inserted findings, with boxes."""

    real: Source
    simulated: Source
    boxed: Source


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Features of a step of stage 3, float32 (n, k), with labels (n,)."""

    features: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Pooled:
        """The same on a device."""
        return Pooled(self.features.to(device), self.labels.to(device))


class Stages:
    """Makes the stages of a run.

    Args:
        network: that is trained.
        recipe: of the run.
        train: films to learn from.
        val: films that stages are validated on.
    """

    def __init__(self, network: ChestXrayNetwork, recipe: Recipe, train: Sources, val: Sources) -> None:
        self.network, self.recipe, self.train, self.val = network, recipe, train, val
        self.device = network.device

    def pretraining(self, options: StageOptions) -> Stage[Batch]:
        """Stage 0: classes of inserted findings, text-mined tags and a radiologist's opacities of real films."""
        head = nn.Linear(self.network.classifier.in_features, len(TAGS) + 1)
        simulated = round(options.batch * self.recipe.simulation.pretraining)
        parts = [(self.train.simulated, simulated), (self.train.real, options.batch - simulated)]

        def losses(batch: Batch) -> dict[str, Tensor]:
            embedding = self._embed(batch.films)
            inserted = torch.where(batch.tags.isnan().all(dim=1), batch.labels, -1)
            logits = self.network.classifier(embedding)
            return {"classes": classification_loss(logits, inserted), "tags": tag_loss(head(embedding), batch.tags)}

        def validate() -> float:
            return sum(self._mean(source, losses) for source in (self.val.simulated, self.val.real))

        parts_trained = [*self.network.encoder_parts(), self.network.classifier]
        return Stage("0-pretraining", options, parts_trained, head, self._mix(parts, 0).draw, losses, validate)

    def contrastive(self, options: StageOptions) -> Stage[Batch]:
        """Stage 1a: the triplet loss on pooled features."""

        def losses(batch: Batch) -> dict[str, Tensor]:
            return {"triplet": triplet_loss(self._embed(batch.films), batch.labels)}

        def validate() -> float:
            found = torch.cat([self._embed(chunk.to(self.device).films) for chunk in chunks(self.val.real)])
            return float(triplet_loss(found, torch.from_numpy(self.val.real.labels).to(self.device)))

        draw = self._mix([(self._balanced(), options.batch)], 1).draw
        return Stage("1a-contrastive", options, self.network.encoder_parts(), nn.Identity(), draw, losses, validate)

    def classifier(self, options: StageOptions) -> Stage[Batch]:
        """Stage 1b: the first encoder and its own classifier."""

        def losses(batch: Batch) -> dict[str, Tensor]:
            return {"classes": classification_loss(self.network.classifier(self._embed(batch.films)), batch.labels)}

        def validate() -> float:
            return self._mean(self.val.real, losses)

        trained = [*self.network.encoder_parts(), self.network.classifier]
        draw = self._mix([(self._balanced(), options.batch)], 2).draw
        return Stage("1b-classifier", options, trained, nn.Identity(), draw, losses, validate)

    def attention(self, options: StageOptions) -> Stage[Batch]:
        """Stage 2: second encoder, decoder and attention head, on inserted findings and boxes."""
        trained = [
            one for one in (self.network.second, self.network.decoder, self.network.attention) if one is not None
        ]
        draw = self._mix(self._attended(options.batch), 3, attention=True).draw

        def losses(batch: Batch) -> dict[str, Tensor]:
            return {"attention": self._attention_loss(batch)}

        def validate() -> float:
            return self._mean(self.val.simulated, losses, attention=True)

        return Stage("2-attention", options, trained, nn.Identity(), draw, losses, validate)

    def fusion(self, options: StageOptions, train: Pooled, val: Pooled) -> Stage[Pooled]:
        """Stage 3: the fusion classifier alone, on features of films and views that were computed once."""
        fusion = self.network.fusion
        if fusion is None:
            raise ValueError("this network has no fusion classifier")

        def draw(step: int) -> Pooled:
            return draw_balanced(train, options.batch, (self.recipe.seed, 4, step))

        def losses(batch: Pooled) -> dict[str, Tensor]:
            return {"classes": classification_loss(fusion(batch.features), batch.labels)}

        def validate() -> float:
            return float(losses(val.to(self.device))["classes"])

        return Stage("3-fusion", options, [fusion], nn.Identity(), draw, losses, validate)

    def joint(self, options: StageOptions) -> Stage[Batch]:
        """The ablation against stages: diagnosis of real films and attention at once, weights learned."""
        network, loss, half = self.network, JointLoss(), options.batch // 2
        parts = (network.first, network.second, network.decoder, network.attention, network.fusion)
        diagnosed = self._mix([(self._balanced(), options.batch - half)], 5)
        attended = self._mix(self._attended(half), 6, attention=True)

        def draw(step: int) -> Batch:
            first, second = diagnosed.draw(step), attended.draw(step)
            unknown = torch.full_like(second.labels, -1)
            films, labels = torch.cat((first.films, second.films)), torch.cat((first.labels, unknown))
            return Batch(films, labels, torch.cat((first.tags, second.tags)), second.attention)

        def losses(batch: Batch) -> dict[str, Tensor]:
            answer = network(batch.films)
            if answer.attention_logits is None or batch.attention is None:
                raise ValueError("joint training needs attention")
            told = answer.attention_logits[len(batch.films) - len(batch.attention) :]
            return {
                "joint": loss(classification_loss(answer.logits, batch.labels), attention_loss(told, batch.attention))
            }

        def validate() -> float:
            def diagnosis(batch: Batch) -> dict[str, Tensor]:
                return {"classes": classification_loss(network(batch.films).logits, batch.labels)}

            def attention(batch: Batch) -> dict[str, Tensor]:
                return {"attention": self._attention_loss(batch)}

            return self._mean(self.val.real, diagnosis) + self._mean(self.val.simulated, attention, attention=True) / 2

        trained = [part for part in parts if part is not None]
        return Stage("joint", options, trained, loss, draw, losses, validate)

    def _embed(self, films: Tensor) -> Tensor:
        return self.network.encode(films).features.mean(dim=(2, 3))

    def _attention_loss(self, batch: Batch) -> Tensor:
        logits = self.network(batch.films).attention_logits
        if logits is None or batch.attention is None:
            raise ValueError("there is no attention to learn")
        return attention_loss(logits, batch.attention)

    def _balanced(self) -> Source:
        real = self.train.real
        return Source(real.arrays, real.labels, real.tags, balanced=True)

    def _attended(self, batch: int) -> list[tuple[Source, int]]:
        simulated = round(batch * self.recipe.simulation.attention) if len(self.train.boxed) else batch
        parts = [(self.train.simulated, simulated), (self.train.boxed, batch - simulated)]
        return [(source, count) for source, count in parts if count]

    def _mix(self, parts: Sequence[tuple[Source, int]], stage: int, *, attention: bool = False) -> Mixture:
        return Mixture(parts, self.recipe.augmentation, self.recipe.seed * 8 + stage, attention)

    def _mean(
        self, source: Source, losses: Callable[[Batch], Mapping[str, Tensor]], *, attention: bool = False
    ) -> float:
        """Mean over films of the sum of losses."""
        found = [
            (float(torch.stack(list(losses(chunk.to(self.device)).values())).sum()), len(chunk.films))
            for chunk in chunks(source, attention=attention)
        ]
        return sum(loss * count for loss, count in found) / max(1, sum(count for _, count in found))


def chunks(source: Source, *, attention: bool = False) -> Iterator[Batch]:
    """All films of a source as they are, a few at a time; the last chunk is smaller."""
    for start in range(0, len(source), _CHUNK):
        part = slice(start, start + _CHUNK)
        films = to_films(source.arrays[part])
        labels, tags = torch.from_numpy(source.labels[part]), torch.from_numpy(source.tags[part])
        maps = None
        if attention and source.attention is not None:
            maps = torch.from_numpy(np.array(source.attention[part], np.float32))
            maps = maps / maps.sum(dim=(1, 2), keepdim=True)
        yield Batch(films, labels, tags, maps)


def draw_balanced(pooled: Pooled, count: int, seed: tuple[int, ...]) -> Pooled:
    """Some features, each class alike often."""
    random, labels = np.random.default_rng(seed), pooled.labels.numpy()
    classes = np.unique(labels)
    chosen = [int(random.choice(np.flatnonzero(labels == classes[place % len(classes)]))) for place in range(count)]
    return Pooled(pooled.features[chosen], pooled.labels[chosen])
