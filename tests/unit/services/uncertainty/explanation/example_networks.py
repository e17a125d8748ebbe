"""Small networks with random weights for the tests of the rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Head, Junction, MaxPool, Network, Size


def convolution(
    random: np.random.Generator, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, bias: bool = True
) -> Convolution:
    weight = random.normal(0, (inputs * kernel * kernel) ** -0.5, (outputs, inputs, kernel, kernel))
    offset = random.normal(0, 0.3, outputs) * bias
    padding = (kernel // 2, kernel // 2)
    return Convolution(weight.astype(np.float32), offset.astype(np.float32), stride=stride, padding=padding)


def head(random: np.random.Generator, source: str, channels: int, classes: int = 3) -> Head:
    weight, bias = random.normal(0, 1, (classes, channels)), random.normal(0, 1, classes)
    return Head(source, weight.astype(np.float32), bias.astype(np.float32), "logits")


def chain(*, kernel: int = 3, stride: int = 1, bias: bool = True, size: Size = (7, 9), seed: int = 0) -> Network:
    """Two convolutions with ReLU."""
    random = np.random.default_rng(seed)
    below = tuple((extent + 2 * (kernel // 2) - kernel) // stride + 1 for extent in size)
    sizes = {"x": size, "h1": (below[0], below[1]), "h2": (below[0], below[1])}
    first = Junction("z1", "h1", (Branch("x", convolution(random, 3, 5, kernel=kernel, stride=stride, bias=bias)),))
    second = Junction("z2", "h2", (Branch("h1", convolution(random, 5, 4, bias=bias)),))
    return Network("x", sizes, (first, second), head(random, "h2", 4))


def pooling(*, kernel: int = 2, stride: int = 2, padding: int = 0, seed: int = 1) -> Network:
    """Convolution, maximum pooling joined to the next convolution."""
    random = np.random.default_rng(seed)
    small = (8 + 2 * padding - kernel) // stride + 1
    pool = MaxPool(kernel, stride, padding)
    first = Junction("z1", "h1", (Branch("x", convolution(random, 3, 5)),))
    second = Junction("z2", "h2", (Branch("h1", convolution(random, 5, 4), pool),))
    return Network("x", {"x": (8, 8), "h1": (8, 8), "h2": (small, small)}, (first, second), head(random, "h2", 4))


def residual(*, seed: int = 2) -> Network:
    """A block with an identity shortcut, and one with a strided projection."""
    random = np.random.default_rng(seed)
    junctions = (
        Junction("z1", "h1", (Branch("x", convolution(random, 3, 4)),)),
        Junction("z2", "h2", (Branch("h1", convolution(random, 4, 4)),)),
        Junction("z3", "h3", (Branch("h2", convolution(random, 4, 4)), Branch("h1"))),
        Junction("z4", "h4", (Branch("h3", convolution(random, 4, 6, stride=2)),)),
        Junction(
            "z5",
            "h5",
            (Branch("h4", convolution(random, 6, 6)), Branch("h3", convolution(random, 4, 6, kernel=1, stride=2))),
        ),
    )
    big, small = (8, 6), (4, 3)
    sizes = {"x": big, "h1": big, "h2": big, "h3": big, "h4": small, "h5": small}
    return Network("x", sizes, junctions, head(random, "h5", 6))


def inverted_residuals(*, seed: int = 4) -> Network:
    """What mobile networks are made of: depthwise convolutions, ReLU6, linear bottlenecks, uneven padding."""
    random = np.random.default_rng(seed)
    depthwise = replace(convolution(random, 1, 6, stride=2), padding=(0, 0, 1, 1), groups=6)
    twofold = replace(convolution(random, 1, 12), groups=6)
    grouped = replace(convolution(random, 6, 6, kernel=1), groups=2)
    junctions = (
        Junction("z1", "h1", (Branch("x", convolution(random, 3, 6)),), 0.5),
        Junction("z2", "h2", (Branch("h1", depthwise),), 0.3),
        Junction("z3", "z3", (Branch("h2", convolution(random, 6, 6, kernel=1)),)),
        Junction("z4", "h4", (Branch("z3", twofold),), 0.5),
        Junction("z5", "h5", (Branch("h4", grouped),)),
        Junction("z6", "z6", (Branch("h5", convolution(random, 6, 6, kernel=1)), Branch("z3"))),
    )
    big, small = (8, 6), (4, 3)
    sizes = {"x": big, "h1": big, "h2": small, "z3": small, "h4": small, "h5": small, "z6": small}
    return Network("x", sizes, junctions, head(random, "z6", 6))
