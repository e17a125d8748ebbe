"""Command line: `python -m services.perception.classification.training.imagenet release` (or `evaluate`)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from services.perception.classification.training.imagenet.evaluate import evaluate, in_eight_bits
from services.perception.classification.training.imagenet.export import build
from services.perception.classification.training.imagenet.release import (
    MODELS,
    NAME,
    VERSION,
    opened,
    release,
    with_quality,
)
from services.training.packages import class_names, published_weights
from shared.command_line import add_data_option
from shared.runtime.cards import read_card, read_weights
from shared.runtime.models.releases import write_card
from shared.runtime.models.sessions import OnnxModel


def _release() -> None:
    print(release(published_weights(), class_names()))


def _evaluate(data: Path) -> None:
    folder = MODELS / NAME / VERSION
    card = read_card(folder)
    plain = build(published_weights(), dtype=np.float32)
    models = {
        "float32": opened(plain),
        "float16": OnnxModel(card, read_weights(folder, card), threads=1),
        "int8": opened(in_eight_bits(plain)),
    }
    result = evaluate(models, card, data)
    write_card(with_quality(card, result), folder)
    print(json.dumps(result, indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["release", "evaluate"])
    add_data_option(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    if options.command == "release":
        _release()
    else:
        _evaluate(options.data)


if __name__ == "__main__":
    main()
