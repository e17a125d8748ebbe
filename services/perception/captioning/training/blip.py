"""A local folder of BLIP (Li et al. 2022, arXiv:2201.12086) as a captioner of two graphs; its weights are the user's.

Nothing is downloaded: the folder is what `save_pretrained` writes, or a copy of a published one. The decoder is written
anew around the layers of transformers, as their cache cannot be traced; `release_blip` compares it with their own
greedy search before it writes anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertTokenizer, BlipForConditionalGeneration

from services.perception.captioning.captioners import Captioner, make_captioner
from services.perception.captioning.roles import NEXT, PARAMETER, WORDS, DecoderRole, EncoderRole
from services.perception.captioning.training.cards import with_tensors
from services.perception.captioning.training.decoders import Tensors
from services.perception.captioning.training.exports import (
    ANSWERS,
    PAST,
    PICTURES,
    export_graph,
)
from services.perception.captioning.training.parity import mosaics
from services.training.half_precision import halve_weights
from shared.imaging.preprocessing import PARAMETER as PREPROCESSING_PARAMETER
from shared.imaging.preprocessing import Preprocessing
from shared.runtime.cards import ModelCard, Paper, Parity, RuntimeOptions, TensorDescription, TrainingRecord
from shared.runtime.models.releases import NOT_MEASURED, measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

CONTEXTS: Final = ("place_keys", "place_values")
STATES: Final = ("position", "word_keys", "word_values")
GROWING: Final = STATES[1:]

_FILTERS: Final = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as image processors state them."""

_LONGEST: Final = 60
_PICTURES: Final = 4
_WORDS: Final = 12
"""Pictures, and words of each, that are compared."""

_PAPER: Final = Paper(
    title="BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and Generation",
    authors="J. Li, D. Li, C. Xiong, S. Hoi",
    url="https://arxiv.org/abs/2201.12086",
)


class UnusableFolder(Exception):
    """The folder is no BLIP captioner that can be exported; the message says why."""


@dataclass(frozen=True, slots=True)
class LocalBlip:
    """A folder that was read.

    Attributes:
        model: in evaluation mode.
        words: pieces of the tokenizer by number.
        forbidden: numbers of special pieces, and of those without a piece.
        preprocessing: what it sees of a picture, and how that is scaled.
        mean: of RGB in [0, 1], subtracted.
        deviation: divided by.
        side: height and width that it sees.
    """

    model: BlipForConditionalGeneration
    words: tuple[str, ...]
    forbidden: tuple[int, ...]
    preprocessing: Preprocessing
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    side: int

    @property
    def text(self) -> Any:
        """Configuration of the part that writes."""
        return self.model.config.text_config

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        count = self.side // self.model.config.vision_config.patch_size
        return count, count


def read_blip(folder: Path) -> LocalBlip:
    """Read a local folder; nothing is downloaded.

    Raises:
        UnusableFolder: pictures are cut in a way that is not known here.
        OSError: a file is missing.
    """
    model = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True, attn_implementation="eager")
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    text = model.config.text_config
    pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}
    special = {*tokenizer.all_special_ids, text.bos_token_id, text.pad_token_id}
    special |= set(range(text.vocab_size)) - pieces.keys()
    words = tuple(pieces.get(number, f"[{number}]") for number in range(text.vocab_size))
    stated = _read_preprocessor(folder)
    side = model.config.vision_config.image_size
    sizes = stated.get("size", {})
    if stated.get("do_center_crop") or (sizes.get("height", side), sizes.get("width", side)) != (side, side):
        raise UnusableFolder(f"its pictures are not scaled whole to {side} x {side}: {stated}")
    kind = _FILTERS.get(stated.get("resample", 3))
    if kind is None:
        raise UnusableFolder(f"its pictures are scaled by filter {stated['resample']}, which is not known here")
    return LocalBlip(
        model.eval(),
        words,
        tuple(sorted(special - {text.sep_token_id})),
        Preprocessing.model_validate({"region": "whole", "filter": kind}),
        tuple(stated["image_mean"]),
        tuple(stated["image_std"]),
        side,
    )


def _read_preprocessor(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).exists():
            stated: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return dict(stated.get("image_processor", stated))
    raise UnusableFolder("it has no preprocessor_config.json, which says how pictures are normalised")


class BlipEncoder(nn.Module):
    """Pictures in [0, 1] to keys and values of all layers, (pictures, layers, tokens, width), and first states."""

    def __init__(self, local: LocalBlip) -> None:
        super().__init__()
        self.vision = local.model.vision_model
        self.layers = local.model.text_decoder.bert.encoder.layer
        self.mean, self.deviation = (
            nn.Parameter(torch.tensor(values).view(1, 3, 1, 1), requires_grad=False)
            for values in (local.mean, local.deviation)
        )

    def forward(self, pictures: Tensor) -> Tensors:
        """Contexts, then states."""
        seen = self.vision(pixel_values=(pictures - self.mean) / self.deviation)[0]
        looks = [layer.crossattention.self for layer in self.layers]
        keys = torch.stack([look.key(seen) for look in looks], dim=1)
        values = torch.stack([look.value(seen) for look in looks], dim=1)
        none = keys[:, :, :0, : self.layers[0].attention.self.all_head_size]
        return keys, values, torch.zeros_like(seen[:, 0, 0], dtype=torch.int64), none, none


class BlipStep(nn.Module):
    """One word: the layers of the text decoder with keys and values of the words before as states."""

    def __init__(self, local: LocalBlip) -> None:
        super().__init__()
        self.bert, self.head = local.model.text_decoder.bert, local.model.text_decoder.cls

    def forward(self, words: Tensor, *tensors: Tensor) -> Tensors:
        """Log-probabilities, attention over patches, states; of words, contexts and states."""
        place_keys, place_values, position, word_keys, word_values = tensors
        x = self.bert.embeddings(input_ids=words[:, None], position_ids=position[:, None])
        known: list[Tensors] = []
        attention = x
        for index, layer in enumerate(self.bert.encoder.layer):
            own = layer.attention.self
            keys = torch.cat([word_keys[:, index], own.key(x)], dim=1)
            values = torch.cat([word_values[:, index], own.value(x)], dim=1)
            known.append((keys, values))
            x = layer.attention.output(_attend(own, x, keys, values)[0], x)
            found, attention = _attend(layer.crossattention.self, x, place_keys[:, index], place_values[:, index])
            x = layer.feed_forward_chunk(layer.crossattention.output(found, x))
        likely = torch.log_softmax(self.head(x)[:, 0], dim=1)
        patches = attention[:, 1:]  # the first token stands for the whole picture
        shares = patches / patches.sum(dim=1, keepdim=True)
        return likely, shares, position + 1, *(torch.stack(part, dim=1) for part in zip(*known, strict=True))


def _attend(look: Any, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What one query finds (rows, 1, width), and where it looks as the mean of heads (rows, tokens)."""

    def split(tensor: Tensor) -> Tensor:
        parts: Tensor = tensor.unflatten(2, (look.num_attention_heads, -1))  # type: ignore[no-untyped-call]
        return parts.transpose(1, 2)

    products = split(look.query(x)) @ split(keys).transpose(2, 3) * look.attention_head_size**-0.5
    weights = torch.softmax(products, dim=3)
    return (weights @ split(values)).transpose(1, 2).flatten(2), weights.mean(dim=1)[:, 0]


@torch.no_grad()
def export_blip(local: LocalBlip) -> tuple[bytes, bytes]:
    """Encoder and decoder in single precision."""
    encoder, step = BlipEncoder(local).eval(), BlipStep(local).eval()
    pictures = torch.rand(2, 3, local.side, local.side)
    names = (*CONTEXTS, *STATES)
    first = export_graph(encoder, (pictures,), [PICTURES], names, dict.fromkeys(GROWING, PAST))
    encoded = encoder(pictures)
    word = torch.full((2,), local.text.bos_token_id)
    after = step(word, *encoded)[len(ANSWERS) :]  # so that no state is empty
    growing = dict.fromkeys(GROWING, PAST) | {NEXT + name: "known" for name in GROWING}
    outputs = [*ANSWERS, *(NEXT + name for name in STATES)]
    inputs = (word, *encoded[: len(CONTEXTS)], *after)
    return first, export_graph(step, inputs, [WORDS, *names], outputs, growing)


@torch.no_grad()
def generate(local: LocalBlip, pictures: NDArray[np.float32], most_words: int) -> list[tuple[int, ...]]:
    """Greedy captions by transformers themselves, as numbers of pieces; pictures (count, 3, side, side) in [0, 1]."""
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (local.mean, local.deviation))
    found = local.model.generate(
        pixel_values=(torch.from_numpy(pictures) - mean) / deviation,
        min_new_tokens=1,
        max_new_tokens=most_words,
        num_beams=1,
        do_sample=False,
        suppress_tokens=list(local.forbidden),
    )
    end = local.text.sep_token_id
    return [tuple(row[1 : row.index(end)] if end in row else row[1:]) for row in found.tolist()]


def release_blip(local: LocalBlip, models: Path, *, name: str, version: str, licence: str) -> list[Path]:
    """Write the two folders of a captioner.

    Args:
        local: the folder.
        models: where to: `<FACET_MODELS>/perception`, say.
        name: of the captioner.
        version: of both models.
        licence: of the weights, in words.

    Raises:
        UnusableFolder: the exported graphs caption random pictures otherwise than transformers do.
    """
    contents = export_blip(local)
    difference = _require_parity(_open(local, contents, name=name, version=version, licence=licence), local)
    halved = halve_weights(contents[0]), halve_weights(contents[1])
    captioner = _open(local, halved, name=name, version=version, licence=licence)
    parity = Parity(
        reference=f"greedy captions by transformers: all {_PICTURES} of random pictures are equal; the graph with "
        "weights in single precision",
        max_abs_difference=difference,
    )
    latency = measure_latency(captioner.encoder, {PICTURES: mosaics(1, captioner.sides)}, what="one picture", repeats=3)
    folders = []
    for model, content in zip((captioner.encoder, captioner.decoder), halved, strict=True):
        measured = model.card.model_copy(update={"parity": parity, "latency": latency})
        folders.append(models / measured.name / measured.version)
        write_release(folders[-1], content, ModelCard.model_validate(measured.model_dump()))
    return folders


@torch.no_grad()
def _require_parity(captioner: Captioner, local: LocalBlip) -> float:
    """Largest difference of the encoder's outputs; captions must be those of transformers."""
    pictures = mosaics(_PICTURES, captioner.sides)
    answered = captioner.named(captioner.encoder.run({PICTURES: pictures}))
    expected = BlipEncoder(local).eval()(torch.from_numpy(pictures))
    found = [best[0].words for best in captioner.search(answered, beams=1, most_words=_WORDS)]
    if found != generate(local, pictures, _WORDS):
        raise UnusableFolder("the exported graphs write other captions than transformers do")
    pairs = zip((*CONTEXTS, *STATES), expected, strict=True)
    return max(float(np.abs(one.numpy() - answered[name]).max(initial=0.0)) for name, one in pairs)


def _open(local: LocalBlip, contents: tuple[bytes, bytes], *, name: str, version: str, licence: str) -> Captioner:
    """The captioner that two graphs make, with cards that lack what is measured."""
    common: dict[str, Any] = {
        "version": version,
        "paper": _PAPER,
        "licence": licence,
        "training": TrainingRecord(
            data=["not known here"],
            procedure="The weights were supplied as a local folder; nothing was trained here",
            seed=0,
            machine="not known here",
            hours=0,
            command="python -m services.perception.captioning.training blip FOLDER --out MODELS",
        ),
        **NOT_MEASURED,
        "limits": ["What it was trained on, and how well it captions, is not known here."],
        "choices": [
            (
                "Attention of a word is that of the last layer's cross attention over patches, the mean of heads; what "
                "goes to the token of the whole picture is left out."
            )
        ],
    }
    pictures = TensorDescription(
        name=PICTURES,
        dtype="float32",
        shape=["batch", 3, local.side, local.side],
        unit="RGB, 1 = white",
        range=(0, 1),
        description="The whole picture, see parameters.preprocessing; normalised in the graph",
    )
    encoder = ModelCard(
        name=f"{name}-encoder",
        task=f"Reads pictures for {name}, which captions them",
        inputs=[pictures],
        outputs=[],
        weights=weights_of(contents[0]),
        parameters={PREPROCESSING_PARAMETER: local.preprocessing.model_dump(), PARAMETER: EncoderRole().model_dump()},
        runtime=RuntimeOptions(on_demand=True, batch_rows=1),
        **common,
    )
    role = _role(local, encoder)
    decoder = ModelCard(
        name=name,
        task=f"Captions pictures, with {name}-encoder",
        inputs=[],
        outputs=[],
        weights=weights_of(contents[1]),
        parameters={PARAMETER: role.model_dump(mode="json"), "warm_up": {PAST: 1}},
        runtime=RuntimeOptions(on_demand=True, arena=True),
        **common,
    )
    cards = with_tensors(encoder, contents[0]), with_tensors(decoder, contents[1])
    models = [OnnxModel(card, content, threads=1) for card, content in zip(cards, contents, strict=True)]
    return make_captioner(models[0], models[1], role)


def _role(local: LocalBlip, encoder: ModelCard) -> DecoderRole:
    return DecoderRole(
        encoder=encoder.name,
        encoder_sha256=encoder.weights.sha256,
        grid=local.grid,
        words=list(local.words),
        joining="word_pieces",
        start=local.text.bos_token_id,
        end=local.text.sep_token_id,
        forbidden=list(local.forbidden),
        most_words=min(_LONGEST, local.text.max_position_embeddings - 1),
    )
