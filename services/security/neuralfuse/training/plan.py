"""All runs behind the releases and the report, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.security.neuralfuse.training.base_training import BaseRecipe
from services.security.neuralfuse.training.generator_training import CONSTANT_SHIFT, GeneratorRecipe

BASES: Final[Mapping[str, BaseRecipe]] = {
    "vgg11": BaseRecipe(network="vgg11", epochs=8),
    "resnet18-half": BaseRecipe(network="resnet18-half", epochs=5),
}
"""Classifiers that are released, by the folder of their run."""

GENERATORS: Final[Mapping[str, GeneratorRecipe]] = {
    "unetl-vgg11": GeneratorRecipe(generator="UNetL", epochs=8),
    "unets-vgg11": GeneratorRecipe(generator="UNetS", epochs=7),
}
"""Generators that are released."""

SHIFTS: Final[Mapping[str, GeneratorRecipe]] = {
    "shift-vgg11": GeneratorRecipe(generator=CONSTANT_SHIFT, epochs=1),
}
"""Baselines that are trained like generators."""

RETRAINED: Final[Mapping[str, BaseRecipe]] = {
    "vgg11-bit-errors": BaseRecipe(network="vgg11", epochs=2, learning_rate=0.01, bit_error_rate=0.01),
    "vgg11-noise": BaseRecipe(network="vgg11", epochs=2, learning_rate=0.01, noise=0.2),
}
"""Baselines that go on from the run `vgg11`."""
