"""Names what is often sent in place of an ONNX file, so that a refusal says what to do."""

from __future__ import annotations

from typing import Final

_EXPORT: Final = "export the model to ONNX"

_BEGINNINGS: Final = (
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS and not the file itself: run git lfs pull first"),
    (
        b"PK\x03\x04",
        f"a ZIP archive, as PyTorch (.pt, .pth), Keras and NumPy write: {_EXPORT} (torch.onnx.export)",
    ),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file (.h5), as Keras writes them: {_EXPORT} (tf2onnx)"),
    (b"\x1f\x8b", "compressed by gzip: send what is in it"),
    (b"GGUF", f"a GGUF file: {_EXPORT}"),
    (b"\x93NUMPY", f"a NumPy array (.npy): {_EXPORT}"),
    (b"<?xml", f"an XML file: {_EXPORT}"),
)
_MARKS: Final = ((b"TFL3", f"a TensorFlow Lite model: {_EXPORT} (tf2onnx)"), (b"ORTM", "in onnxruntime's .ort format"))
"""Four bytes from the fifth on."""

_PICKLES: Final = range(2, 6)
_HTML: Final = (b"<!doctype html", b"<html")


def other_kind(content: bytes) -> str | None:
    """What the bytes are, as the end of "it is ..."; None where they are nothing that is known here."""
    if not content:
        return "empty"
    for beginning, kind in _BEGINNINGS:
        if content.startswith(beginning):
            return kind
    for mark, kind in _MARKS:
        if content[4:8] == mark:
            return kind
    if content[0] == 0x80 and content[1:2] and content[1] in _PICKLES:
        return f"a pickle of Python, as PyTorch and scikit-learn write them: {_EXPORT} (torch.onnx.export, skl2onnx)"
    if content[8:10] == b'{"' and int.from_bytes(content[:8], "little") < len(content):
        return f"a file of safetensors, which has weights and no graph: {_EXPORT}"
    if content[:256].lstrip().lower().startswith(_HTML):
        return "an HTML page, perhaps one that was saved in the model's place"
    return None
