"""Writes a picture and its tensor to try the routes about signs with; the argument is the folder.

A drawn stop sign, no photograph. The README's curl commands and the picture of explanations are made of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from services.perception.classification.inference import read_picture
from shared.imaging.drawn_signs import CUT_OUT


def stop_sign() -> bytes:
    """PNG of a stop sign, cut out as the benchmark's are: a white rim, a red octagon, the word."""
    return CUT_OUT.png()


def sign_tensor() -> bytes:
    """The sign as an inference request of the Open Inference Protocol, JSON."""
    pixels = read_picture(stop_sign(), pixel_limit=CUT_OUT.side**2, pointer="/body/file")[None]
    tensor = {"name": "pictures", "shape": pixels.shape, "datatype": "FP32", "data": pixels.round(4)}
    return orjson.dumps({"id": "sign", "inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def main(folder: Path) -> None:
    """Write the picture and the request into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("sign.png", stop_sign()), ("sign.json", sign_tensor())):
        (folder / name).write_bytes(content)
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
