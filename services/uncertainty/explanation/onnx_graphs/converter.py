"""Conversion of a classifier that somebody sent, in a process of its own with limits on memory and time.

Reading a model file runs native parsers and shape inference over what a stranger wrote, and the result is run once
before it is answered. What goes wrong there ends this process and not the service.

    python -m services.uncertainty.explanation.onnx_graphs.converter --layer '*' < model.onnx > explained.onnx
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from typing import Any

import anyio
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from services.uncertainty.explanation.networks.graph import UnsupportedNetwork
from services.uncertainty.explanation.networks.preparation import prepared
from services.uncertainty.explanation.networks.reading.network import read_network
from services.uncertainty.explanation.onnx_graphs.conversion import with_explanation
from services.uncertainty.explanation.onnx_graphs.verification import verify
from shared.problems import UnprocessableContent, field_problem

SECONDS = 60
"""CPU seconds that a conversion may take."""

MEMORY_BYTES = 4 * 1024**3
"""Address space that it may take."""

_REFUSED = 3


async def convert(model: bytes, *, layers: list[str], patterns: bool) -> bytes:
    """Model and explanation in one file, made in a process of its own.

    Args:
        model: ONNX file with its weights inside.
        layers: see `with_explanation`; `*` for all.
        patterns: see `with_explanation`.

    Raises:
        UnprocessableContent: the file cannot be read or has parts without a rule; all of them are named.
    """
    command = [sys.executable, "-m", __name__, *(["--patterns"] if patterns else [])]
    for layer in layers:
        command += ["--layer", layer]
    with anyio.move_on_after(2 * SECONDS):
        done = await anyio.run_process(command, input=model, check=False)
        if done.returncode == 0:
            return done.stdout
        if done.returncode == _REFUSED:
            raise _problem(json.loads(done.stdout))
    raise field_problem("/body/file", "The model could not be converted within the limits of time and memory.")


def _problem(fault: dict[str, Any]) -> UnprocessableContent:
    return field_problem(f"/body/{fault['field']}", fault["detail"])


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _require_own_weights(model: onnx.ModelProto) -> None:
    """A file that points to other files would make us read them."""
    if any(item.data_location == onnx.TensorProto.EXTERNAL for item in model.graph.initializer):
        raise UnsupportedNetwork(["weights outside of the file; save the model with its weights inside"])


def _load() -> onnx.ModelProto:
    """The posted model.

    Raises:
        DecodeError, ValidationError: the file is no valid ONNX model.
        UnsupportedNetwork: it is one, but not by itself.
    """
    model = onnx.load_model_from_string(sys.stdin.buffer.read())
    _require_own_weights(model)
    onnx.checker.check_model(model)
    return model


def _convert(model: onnx.ModelProto, options: argparse.Namespace) -> bytes:
    verify(model)
    layers = read_network(prepared(model)).layers() if "*" in options.layer else options.layer
    content: bytes = with_explanation(model, layers=layers, patterns=options.patterns).SerializeToString()
    return content


def main() -> int:
    """Read a model from standard input; write the converted one, or what is wrong as JSON, to standard output."""
    parser = argparse.ArgumentParser(description="Put sharing ratio decomposition behind a classifier (ONNX)")
    parser.add_argument("--layer", action="append", default=[], help="layer whose relevance is an output; * for all")
    parser.add_argument("--patterns", action="store_true", help="also predict from activation patterns")
    options = parser.parse_args()
    _limit()
    try:
        model = _load()
    except (DecodeError, onnx.checker.ValidationError):
        return _refuse({"field": "file", "detail": "The file is no valid ONNX model."})
    except UnsupportedNetwork as error:
        return _refuse({"field": "file", "detail": f"The model cannot be explained: {error}."})
    try:
        content = _convert(model, options)
    except UnsupportedNetwork as error:
        fault = {"field": "file", "detail": f"The model cannot be explained: {error}."}
    except KeyError as error:
        fault = {"field": "layer", "detail": f"The model has {error.args[0]}."}
    except onnx.shape_inference.InferenceError as error:
        fault = {"field": "file", "detail": f"The shapes of the model contradict each other: {_first_line(error)}."}
    except Exception as error:  # a file that passes the checker can still be nonsense
        fault = {"field": "file", "detail": f"The model cannot be read: {type(error).__name__}."}
    else:
        sys.stdout.buffer.write(content)
        return 0
    return _refuse(fault)


def _refuse(fault: dict[str, str]) -> int:
    sys.stdout.write(json.dumps(fault))
    return _REFUSED


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


if __name__ == "__main__":
    sys.exit(main())
