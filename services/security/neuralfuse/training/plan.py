"""All runs behind the releases and the report, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.security.neuralfuse.training.base_training import BaseRecipe
from services.security.neuralfuse.training.generator_training import CONSTANT_SHIFT, GeneratorRecipe

BASES: Final[Mapping[str, BaseRecipe]] = {
    "vgg11": BaseRecipe(network="vgg11", epochs=8),
    "resnet18-half": BaseRecipe(network="resnet18-half", epochs=4),
}
"""Classifiers that are released, by the folder of their run."""

GENERATORS: Final[Mapping[str, GeneratorRecipe]] = {
    "unets-vgg11": GeneratorRecipe(generator="UNetS", epochs=7),
    "unetl-vgg11-first": GeneratorRecipe(generator="UNetL", epochs=8),
    "unetl-vgg11": GeneratorRecipe(
        generator="UNetL", epochs=6, learning_rate=1e-3, bit_error_rate=0.015, start="unetl-vgg11-first"
    ),
    "shift-vgg11": GeneratorRecipe(generator=CONSTANT_SHIFT, epochs=1),
}
"""Generators, and the baseline that is trained like one."""

RELEASED_GENERATORS: Final = ("unets-vgg11", "unetl-vgg11")

RETRAINED: Final[Mapping[str, BaseRecipe]] = {
    "vgg11-bit-errors": BaseRecipe(epochs=1, learning_rate=0.01, warm_up=50, bit_error_rate=0.01, start="vgg11"),
    "vgg11-noise": BaseRecipe(epochs=1, learning_rate=0.01, warm_up=50, noise=0.2, start="vgg11"),
}
"""Baselines: classifiers that are trained again."""
