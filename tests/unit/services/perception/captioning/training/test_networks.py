"""Both decoders: a step is a column of the whole, and both are what onnxruntime computes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from services.optimisation.efficientnet_lite import EfficientNetLite
from services.perception.captioning.decoding import Arrays, SearchOptions, Step, search_beams
from services.perception.captioning.roles import NEXT, WORDS
from services.perception.captioning.training.data import CaptionSet, make_batch
from services.perception.captioning.training.decoders import counted
from services.perception.captioning.training.exports import ANSWERS, PICTURES, export_encoder, export_step
from services.perception.captioning.training.features import CUT, map_channels
from services.perception.captioning.training.networks import DECODERS, Captioner, TorchSteps
from services.perception.captioning.vocabulary import PAD, START, build_vocabulary
from tests.support.captioners import SIDE

WIDTH, VOCABULARY = 16, 12
SIDE_OF_MAP = 4


def make_captioner(decoder: str, tail: torch.nn.Module | None = None) -> Captioner:
    torch.manual_seed(1)
    made = Captioner(decoder, words=VOCABULARY, channels=map_channels("tiny"), width=WIDTH, dropout=0.2, tail=tail)
    for parameter in made.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


def opened(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_steps_are_the_columns_of_whole_captions(name: str) -> None:
    decoder = make_captioner(name).decoder
    places, pictures = torch.randn(2, 16, WIDTH), torch.tensor([1, 0, 1])
    words = torch.tensor([[START, 5, 6, 7], [START, 8, 4, PAD], [START, 9, PAD, PAD]])
    lengths = torch.tensor([4, 3, 2])
    whole = decoder(places, pictures, words, lengths)
    assert whole.logits.shape == (9, VOCABULARY)
    of_words = torch.zeros(3, 4, VOCABULARY)
    of_words[counted(lengths)] = whole.logits
    assert whole.attention.shape == (3, 4, 16)
    contexts, states = decoder.begin(places[pictures])
    for index in range(4):
        logits, attention, states = decoder.step(words[:, index], contexts, states)
        rows = int((lengths > index).sum())
        torch.testing.assert_close(of_words[:rows, index], logits[:rows], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(whole.attention[:rows, index], attention[:rows], atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(attention.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_no_word_sees_the_words_behind_it(name: str) -> None:
    decoder = make_captioner(name).decoder
    places, pictures, lengths = torch.randn(1, 16, WIDTH), torch.tensor([0]), torch.tensor([4])
    one = decoder(places, pictures, torch.tensor([[START, 5, 6, 7]]), lengths).logits
    other = decoder(places, pictures, torch.tensor([[START, 5, 9, 4]]), lengths).logits
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2])


class Graphs:
    """Both exported graphs as the function that captions are searched with."""

    def __init__(self, encoder: bytes, step: bytes, captioner: Captioner) -> None:
        self.encoder, self.graph, self.decoder = opened(encoder), opened(step), captioner.decoder

    def begin(self, pictures: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[Arrays, Arrays]:
        names = [*self.decoder.CONTEXTS, *self.decoder.STATES]
        found = self.encoder.run(names, {PICTURES: pictures})
        count = len(self.decoder.CONTEXTS)
        return tuple(found[count:]), tuple(found[:count])

    def __call__(
        self, words: np.ndarray[tuple[int, ...], np.dtype[np.int64]], states: Arrays, contexts: Arrays
    ) -> Step:
        inputs = dict(zip((*self.decoder.CONTEXTS, *self.decoder.STATES), (*contexts, *states), strict=True))
        names = [*ANSWERS, *(NEXT + name for name in self.decoder.STATES)]
        likely, attention, *after = self.graph.run(names, {WORDS: words, **inputs})
        return Step(likely, attention, tuple(after))


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_exported_graphs_are_the_torch_network(name: str, tuned: bool, backbone: EfficientNetLite) -> None:
    trunk, tail = backbone.split(CUT)
    captioner = make_captioner(name, tail if tuned else None)
    graphs = Graphs(export_encoder(captioner, backbone, side=SIDE), export_step(captioner, SIDE_OF_MAP**2), captioner)
    pictures = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    fine = trunk(pictures)
    steps = TorchSteps(captioner)
    expected, found = steps.begin(fine, tail(fine)), graphs.begin(pictures.numpy())
    for one, other in zip((*expected[0], *expected[1]), (*found[0], *found[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    (states, contexts), words = expected, np.array([START, START, START])
    for _ in range(3):
        mine, theirs = steps(words, states, contexts), graphs(words, states, contexts)
        np.testing.assert_allclose(mine.log_probabilities, theirs.log_probabilities, atol=1e-4)
        np.testing.assert_allclose(mine.attention, theirs.attention, atol=1e-5)
        states, words = mine.states, mine.log_probabilities.argmax(axis=1)
    options = SearchOptions(width=3, maximum=6)
    captions = [search_beams(one, *started, options) for one, started in ((steps, expected), (graphs, found))]
    assert [[one.words for one in best] for best in captions[0]] == [
        [one.words for one in best] for best in captions[1]
    ]
    assert all(one.attention.shape[1:] == (SIDE_OF_MAP**2,) for best in captions[1] for one in best)


def test_a_batch_has_all_captions_of_its_photographs_the_longest_first(sets: dict[str, CaptionSet]) -> None:
    data = sets["val"]
    vocabulary = build_vocabulary((words for those in data.captions for words in those), minimum_count=1)
    batch = make_batch(data, vocabulary, np.array([3, 1]), np.array([0, 1]), longest=5)
    assert len(batch.words) == 4
    assert batch.lengths.tolist() == sorted(batch.lengths.tolist(), reverse=True) == [6, 6, 5, 5]
    for picture, words, targets in zip(batch.pictures, batch.words, batch.targets, strict=True):
        caption = vocabulary.decode(targets.tolist())
        assert caption in [those[:5] for those in data.captions[[3, 1][int(picture)]]]
        assert vocabulary.decode(words.tolist()) == caption
    np.testing.assert_array_equal(batch.maps[0][1].numpy(), data.features.fine[1, 1].astype(np.float32))


def test_batch_normalisation_of_a_tail_stays_in_evaluation_mode(backbone: EfficientNetLite) -> None:
    captioner = make_captioner("lstm", backbone.split(CUT)[1]).train()
    assert captioner.grid.training
    assert captioner.tail is not None
    assert not any(module.training for module in captioner.tail.modules())
