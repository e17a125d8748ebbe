"""Holds an ONNX file against its card before anything opens it. No part of this runs the model.

Loading a graph into onnxruntime reads files that it names (external data) and may allocate what it likes, so what can
be refused on the file alone is refused first. Custom operators would need a native library; none is ever registered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from shared.problems import FieldError, UnprocessableContent
from shared.runtime.cards import TensorDescription, UploadedCard, Weights
from shared.runtime.inspection.file_kinds import other_kind
from shared.runtime.inspection.onnx_file import OnnxFacts, TensorFact, read_onnx
from shared.runtime.inspection.protobuf import MalformedMessage

MOST_BYTES: Final = 40 * 1024 * 1024
"""Of a model file, where settings say nothing else."""

HIGHEST_OPSETS: Final = {"": 28, "ai.onnx.ml": 5, "com.microsoft": 1}
"""What the pinned onnxruntime opens, by domain; others are custom operators. A test asks onnxruntime."""

HIGHEST_IR_VERSION: Final = 14
"""Likewise, of the file format."""

_NAMING_FILES: Final = frozenset({("com.microsoft", "EPContext"), ("com.microsoft", "PyOp")})
"""Operators that name a file or code of the machine."""

_FILE: Final = "/body/file"


class Refused(Exception):
    """A model that is not opened.

    Args:
        errors: what is wrong, by JSON pointers into the request that would upload it.
    """

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.pointer.removeprefix('/body/')}: {error.detail}" for error in errors))
        self.errors = errors

    def problem(self) -> UnprocessableContent:
        """As an answer to whoever uploaded it."""
        summary = " ".join(error.detail for error in self.errors)
        return UnprocessableContent(f"The model is refused. {summary}", errors=self.errors)


def refused(pointer: str, detail: str) -> Refused:
    """A model with a single fault."""
    return Refused(FieldError(pointer=pointer, detail=detail))


def verify(content: bytes, card: UploadedCard, *, most_bytes: int = MOST_BYTES) -> OnnxFacts:
    """Compare a file with its card, and refuse what could do harm.

    Args:
        content: the ONNX file.
        card: what it is said to be.
        most_bytes: of a file.

    Raises:
        Refused: with every fault of the first kind found: size and digest, then the file, then inputs and outputs.
    """
    _require_weights(content, card.weights, most_bytes)
    facts = inspect(content)
    faults = [
        *_differences("inputs", card.inputs, facts.inputs),
        *_differences("outputs", card.outputs, facts.outputs),
    ]
    if faults:
        raise Refused(*faults)
    return facts


def inspect(content: bytes) -> OnnxFacts:
    """Read a file and refuse what could do harm or cannot be opened, whatever its card says.

    Raises:
        Refused: it is no ONNX file, names others, or needs operators that are not here.
    """
    if (kind := other_kind(content)) is not None:
        raise refused(_FILE, f"This is no ONNX file: it is {kind}.")
    try:
        facts = read_onnx(content)
    except MalformedMessage as error:
        raise refused(_FILE, f"This is no ONNX file that can be read: {error}.") from None
    if faults := [*_faults(facts)]:
        raise Refused(*(FieldError(pointer=_FILE, detail=fault) for fault in faults))
    return facts


def _require_weights(content: bytes, weights: Weights, most_bytes: int) -> None:
    if len(content) > most_bytes:
        raise refused(_FILE, f"The file has {len(content)} bytes; a model has at most {most_bytes}.")
    if len(content) != weights.bytes:
        raise refused("/body/card/weights/bytes", f"The file has {len(content)} bytes, its card says {weights.bytes}.")
    found = hashlib.sha256(content).hexdigest()
    if found != weights.sha256:
        raise refused("/body/card/weights/sha256", f"The file has sha256 {found}, its card says {weights.sha256}.")


def _faults(facts: OnnxFacts) -> list[str]:
    faults: list[str] = []
    if not 1 <= facts.ir_version <= HIGHEST_IR_VERSION:
        faults.append(f"Its IR version is {facts.ir_version}; 1 to {HIGHEST_IR_VERSION} are read here.")
    if facts.external:
        named = ", ".join(name or "(unnamed)" for name in facts.external[:3])
        faults.append(f"Weights must be inside the file; these are said to be in others: {named}.")
    faults += _faults_of_operators(facts)
    if not facts.inputs or not facts.outputs:
        faults.append("It has no inputs, or no outputs.")
    for tensor in (*facts.inputs, *facts.outputs):
        faults += _faults_of_tensor(tensor, facts)
    return faults


def _faults_of_tensor(tensor: TensorFact, facts: OnnxFacts) -> list[str]:
    label = tensor.name or "An input or output"
    if not tensor.name or not tensor.dtype:
        maps = ("ai.onnx.ml", "ZipMap") in facts.operators and tensor in facts.outputs
        hint = " Convert with skl2onnx's options={id(model): {'zipmap': False}}." if maps else ""
        return [f"{label} is no tensor of a type that is served.{hint}"]
    if 0 in (tensor.shape or ()):
        return [f"{label} has an axis of size 0: it would always be empty. Give that axis a name when you export it."]
    return []


def _faults_of_operators(facts: OnnxFacts) -> list[str]:
    faults: list[str] = []
    foreign = sorted(f"{domain}.{kind}" for domain, kind in facts.operators if domain not in HIGHEST_OPSETS)
    if foreign:
        faults.append(f"Custom operators are not run here: {', '.join(foreign[:3])}.")
    if naming := sorted(kind for domain, kind in facts.operators & _NAMING_FILES):
        faults.append(f"Operators that name files or code of the machine are not run here: {', '.join(naming)}.")
    for domain in sorted({domain for domain, _ in facts.operators} & HIGHEST_OPSETS.keys()):
        highest, version = HIGHEST_OPSETS[domain], facts.opsets.get(domain)
        label = domain or "ai.onnx"
        if version is None:
            faults.append(f"It uses operators of {label} and imports no opset of it.")
        elif not 1 <= version <= highest:
            faults.append(f"It needs opset {version} of {label}; 1 to {highest} are read here.")
    return faults


def _differences(side: str, described: Sequence[TensorDescription], found: Sequence[TensorFact]) -> list[FieldError]:
    """What a card says of inputs or outputs and the file does not."""
    by_name = {tensor.name: tensor for tensor in found}
    faults: list[FieldError] = []
    for index, tensor in enumerate(described):
        pointer = f"/body/card/{side}/{index}"
        fact = by_name.pop(tensor.name, None)
        if fact is None:
            known = ", ".join(other.name for other in found)
            faults.append(
                FieldError(pointer=f"{pointer}/name", detail=f"The file has no {tensor.name} here; it has: {known}.")
            )
            continue
        if tensor.dtype != fact.dtype:
            faults.append(FieldError(pointer=f"{pointer}/dtype", detail=f"{fact.name} is {fact.dtype} in the file."))
        if fact.shape is None and not tensor.shape:
            detail = f"The file does not say how many axes {fact.name} has: give its sizes, or names for open ones."
            faults.append(FieldError(pointer=f"{pointer}/shape", detail=detail))
        elif not fits(tensor.shape, fact):
            shown = ", ".join("any" if side is None else str(side) for side in fact.shape or ())
            faults.append(FieldError(pointer=f"{pointer}/shape", detail=f"{fact.name} is [{shown}] in the file."))
    if by_name:
        missing = ", ".join(by_name)
        faults.append(FieldError(pointer=f"/body/card/{side}", detail=f"The card leaves out {missing}."))
    return faults


def fits(shape: Sequence[int | str], fact: TensorFact) -> bool:
    """Whether a card's shape is one that the file allows: a fixed size is that size, an open one may be fixed."""
    if fact.shape is None:
        return True
    if len(shape) != len(fact.shape):
        return False
    return all(
        said == size if isinstance(size, int) and size >= 0 else isinstance(said, str) or said > 0
        for said, size in zip(shape, fact.shape, strict=True)
    )


def draft_card(content: bytes, *, name: str, version: str, task: str = "", licence: str = "") -> dict[str, object]:
    """A card made of what the file says, to be completed; empty texts are refused when it is posted.

    Raises:
        Refused: the file would be.
    """
    facts = inspect(content)
    weights = {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {
        "name": name,
        "version": version,
        "task": task,
        "licence": licence,
        "inputs": [_described(tensor) for tensor in facts.inputs],
        "outputs": [_described(tensor) for tensor in facts.outputs],
        "weights": weights,
        "limits": [],
    }


def _described(tensor: TensorFact) -> dict[str, object]:
    """A shape of None is refused when the card is posted: the file does not say how many axes there are."""
    described: dict[str, object] = {"name": tensor.name, "dtype": tensor.dtype, "shape": None, "unit": "not stated"}
    if tensor.shape is None:
        return described | {"description": "The file does not say how many axes this has: write its shape."}
    shape = [f"axis_{number}" if side in {None, -1} else side for number, side in enumerate(tensor.shape)]
    return described | {"shape": shape, "description": "not stated"}
