"""Whether a picture is an upright frontal chest film of usual polarity: a linear head on features that stay frozen.

Definition of the features, of a prepared film x (n, 1, H, W) in [0, 1] (`prepare_film`):

1. x is repeated to RGB and normalised, (x 255 - 127) / 128.
2. EfficientNet-Lite0 with ImageNet's weights, as released in `imagenet-lite0` (batch normalisation folded into
   convolutions, TensorFlow's SAME padding), up to its fourth stage (`_blocks.7`): 80 channels at stride 16.
3. Means over the cells of a grid of 5 rows by 4 columns, channel by channel and, within one, cell by cell by rows:
   1600 features. The grid is what tells above from below.

`frontal` = weight . features + bias is given as it is; a picture is accepted where it is at least the threshold. To any
model of the role `append_frontal` adds the branch, with the backbone's weights in half precision as they were released
(0.6 MB), so that no training of the network moves it.

Positives are the training films and variants of them that the service must take; negatives are `other_pictures.SEEN`.
The threshold is the quantile of the validation films' logits that refuses 1.5 % of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from scipy.ndimage import rotate
from tqdm import tqdm

from services.medical.chest_xray.films import PREPROCESSING, prepare_film, spread_greys
from services.medical.chest_xray.training.data.manifest import read_manifest
from services.medical.chest_xray.training.frozen_features import (
    FrozenFeatures,
    Pooling,
    feature_graph,
    read_backbone,
)
from services.medical.chest_xray.training.heads.linear_heads import fit_head
from services.medical.chest_xray.training.other_pictures import SEEN, UNSEEN, Kind, Source, Split
from shared.command_line import add_data_option
from shared.intervals import wilson_interval

SIZE: Final = (320, 256)
POOLINGS: Final = (Pooling(3, rows=5, columns=4),)
REFUSED: Final = 0.015
"""Share of the validation films that the threshold refuses."""

HEAD: Final = Path(__file__).parent / "screening_head.npz"
_VARIANTS: Final = 2
"""Changed copies of each training film."""

_COUNTS: Final[dict[str, int]] = {"train": 1500, "val": 300, "test": 300}
_INVERSE_PENALTIES: Final = (1e-4, 1e-3, 1e-2)
_PREFIX: Final = "screening."

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ScreeningHead:
    """The head.

    Attributes:
        weight: float32 (1600,), of the features in the order of the module's description.
        bias: of the logit.
        threshold: logit from which a picture is accepted.
    """

    weight: NDArray[np.float32]
    bias: float
    threshold: float

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits (n,) of features (n, 1600)."""
        return features.astype(np.float64) @ self.weight.astype(np.float64) + self.bias

    def write(self, file: Path = HEAD) -> None:
        """As arrays `weight`, `bias`, `threshold`, `size` and `preprocessing`."""
        np.savez(
            file,
            weight=self.weight,
            bias=np.float32(self.bias),
            threshold=np.float32(self.threshold),
            size=np.array(SIZE),
            preprocessing=np.array(PREPROCESSING),
        )

    @classmethod
    def read(cls, file: Path = HEAD) -> ScreeningHead:
        """What `write` wrote.

        Raises:
            ValueError: it is for films that are prepared in another way.
        """
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["preprocessing"]) != PREPROCESSING:
                raise ValueError(f"{file.name} is for films of {stored['preprocessing']}, not of {PREPROCESSING}")
            return cls(stored["weight"], float(stored["bias"]), float(stored["threshold"]))


def screening_features(size: tuple[int, int] = SIZE, *, backbone: onnx.ModelProto | None = None) -> onnx.ModelProto:
    """The graph of the features.

    Args:
        size: height and width of the prepared film; other than `SIZE` where the grid divides it.
        backbone: of `read_backbone`, which it is by default.
    """
    return feature_graph(backbone or read_backbone(), size, POOLINGS)


def append_frontal(
    model: onnx.ModelProto, head: ScreeningHead, *, backbone: onnx.ModelProto | None = None
) -> onnx.ModelProto:
    """The same model with an output more, `frontal` float32 (n,), and the threshold in its metadata.

    Args:
        model: with the input `film` (n, 1, H, W) that has `SIZE`, and no output `frontal` yet.
        head: that was trained.
        backbone: of `read_backbone`, which it is by default.

    Raises:
        ValueError: the model has another input, or the output already.
    """
    inputs = {one.name: one for one in model.graph.input}
    if "film" not in inputs or "frontal" in {one.name for one in model.graph.output}:
        raise ValueError("a model with the input film and without the output frontal is needed")
    count, _, rows, columns = inputs["film"].type.tensor_type.shape.dim
    height, width = rows.dim_value, columns.dim_value
    branch = compose.add_prefix(frontal_graph(head, (height, width), backbone=backbone), _PREFIX)
    nodes = [_renamed(node) for node in branch.graph.node]
    found = onnx.ModelProto()
    found.CopyFrom(model)
    found.graph.node.extend(nodes)
    found.graph.initializer.extend(branch.graph.initializer)
    found.graph.output.append(helper.make_tensor_value_info("frontal", TensorProto.FLOAT, [count.dim_param]))
    entry = found.metadata_props.add()
    entry.key, entry.value = "frontal_threshold", repr(head.threshold)
    onnx.checker.check_model(found)
    return found


def _renamed(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node of the branch that reads the model's film and gives the model's output."""
    for names, plain in ((node.input, "film"), (node.output, "frontal")):
        for index, name in enumerate(names):
            if name == _PREFIX + plain:
                names[index] = plain
    return node


def frontal_graph(
    head: ScreeningHead, size: tuple[int, int] = SIZE, *, backbone: onnx.ModelProto | None = None
) -> onnx.ModelProto:
    """The head as a model of its own: `film` (n, 1, H, W) to `frontal` (n,)."""
    graph = screening_features(size, backbone=backbone)
    weight = numpy_helper.from_array(head.weight[:, None], "head.weight")
    bias = numpy_helper.from_array(np.array([head.bias], np.float32), "head.bias")
    axes = numpy_helper.from_array(np.array([-1]), "head.axes")
    graph.graph.initializer.extend([weight, bias, axes])
    graph.graph.node.append(helper.make_node("Gemm", ["features", "head.weight", "head.bias"], ["logit"]))
    graph.graph.node.append(helper.make_node("Squeeze", ["logit", "head.axes"], ["frontal"]))
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("frontal", TensorProto.FLOAT, ["n"]))
    return graph


def vary_film(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A film that must be taken as well: a little turned, cut, shifted in contrast, mirrored or between black bars."""
    found = pixels
    if random.random() < 0.7:
        found = rotate(found, random.uniform(-8, 8), reshape=False, order=1, mode="constant")
    rows, columns = (round(random.uniform(0, 0.1) * side) for side in found.shape)
    found = found[rows : found.shape[0] - rows, columns : found.shape[1] - columns]
    found = spread_greys(np.ascontiguousarray(found)) ** np.float32(np.exp(random.uniform(-0.5, 0.5)))
    if random.random() < 0.2:
        found = found[:, ::-1]
    if random.random() < 0.3:
        bar = round(random.uniform(0.02, 0.15) * found.shape[1])
        found = np.pad(found, ((0, 0), (bar, bar)) if random.random() < 0.7 else ((bar, bar), (0, 0)))
    return np.ascontiguousarray(found, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Features of pictures of one kind.

    Attributes:
        features: (n, 1600).
        owners: (n,), what belongs together.
    """

    features: NDArray[np.float32]
    owners: NDArray[np.int64]


class Reader:
    """Computes the features of pictures of a split.

    Args:
        data: folder of all data sets.
        counts: most pictures of a kind by split.
    """

    def __init__(self, data: Path, counts: dict[str, int] | None = None) -> None:
        self._data, self._counts = data, counts or _COUNTS
        self._films = read_manifest(data)
        self._compute = FrozenFeatures(screening_features())

    def kind(self, kind: Kind, split: Split) -> Pictures:
        """Other pictures."""
        return self._pictures(kind(self._source(split)))

    def films(self, split: Split) -> Pictures:
        """Films as they are."""
        source = self._source(split)
        return self._pictures((int(film.patient), source.read(film)) for film in source.films)

    def varied_films(self, split: Split, copies: int, *, seed: int = 0) -> Pictures:
        """Films by `vary_film`."""
        return self._pictures(self._varied(split, copies, seed))

    def _varied(self, split: Split, copies: int, seed: int) -> Iterator[tuple[int, Pixels]]:
        random = np.random.default_rng([seed, len(split)])
        source = self._source(split)
        for film in source.films:
            pixels = source.read(film)
            for _ in range(copies):
                yield int(film.patient), vary_film(pixels, random)

    def _source(self, split: Split) -> Source:
        films = [film for film in self._films if film.split == split]
        return Source(self._data, films, split, self._counts[split])

    def _pictures(self, pictures: Iterable[tuple[int, Pixels]]) -> Pictures:
        features, owners = [], []
        for owner, pixels in pictures:
            prepared = prepare_film(np.ascontiguousarray(pixels, np.float32), SIZE).array
            features.append(self._compute(prepared[None])[0])
            owners.append(owner)
        return Pictures(np.stack(features), np.array(owners))


def train_screening(reader: Reader) -> ScreeningHead:
    """Fit the head and choose its threshold."""
    films = [reader.films("train"), reader.varied_films("train", _VARIANTS)]
    others = [reader.kind(kind, "train") for kind in tqdm(SEEN.values(), desc="kinds")]
    labels = np.concatenate([np.full(len(one.owners), int(one in films)) for one in (*films, *others)])
    # Files of other sets are numbered from 0; patients of films keep together whatever was made of a film.
    owners = np.concatenate([*(one.owners for one in films), *(_apart(one, index) for index, one in enumerate(others))])
    features = np.concatenate([one.features for one in (*films, *others)])
    fitted = fit_head(features, labels, owners, inverse_penalties=_INVERSE_PENALTIES, balanced=True)
    weight, bias = fitted.weight[:, 1].astype(np.float32), float(fitted.bias[1])
    head = ScreeningHead(weight, bias, 0.0)
    return ScreeningHead(weight, bias, float(np.quantile(head(reader.films("val").features), REFUSED)))


def _apart(pictures: Pictures, index: int) -> NDArray[np.int64]:
    """Owners of a kind; those made of films are patients, the others get numbers of their own."""
    made_of_films = [*SEEN][index].find("films") >= 0
    return pictures.owners if made_of_films else -1 - pictures.owners - 1_000_000 * index


def accepted(logits: NDArray[Any], threshold: float) -> dict[str, Any]:
    """How many pictures are accepted, with the Wilson interval of their share."""
    count, taken = len(logits), int(np.sum(logits >= threshold))
    low, high = wilson_interval(taken / count, count)
    return {"pictures": count, "accepted": taken, "share": taken / count, "low": low, "high": high}


def measure(reader: Reader, head: ScreeningHead, split: Split = "test") -> dict[str, Any]:
    """Accepted films and pictures of every kind of a split, by name."""
    found = {
        "films": accepted(head(reader.films(split).features), head.threshold),
        "films, varied": accepted(head(reader.varied_films(split, 1).features), head.threshold),
    }
    for kinds in (SEEN, UNSEEN):
        for name, kind in kinds.items():
            found[name] = accepted(head(reader.kind(kind, split).features), head.threshold)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Train the head, write it beside this file, and print what it does on the validation split."""
    parser = argparse.ArgumentParser(prog="python -m services.medical.chest_xray.training.screening")
    add_data_option(parser)
    parser.add_argument("--out", type=Path, default=HEAD, help="file of the head")
    options = parser.parse_args(arguments)
    reader = Reader(options.data)
    head = train_screening(reader)
    head.write(options.out)
    print(json.dumps({"threshold": head.threshold, "validation": measure(reader, head, "val")}, indent=1))


if __name__ == "__main__":
    main()
