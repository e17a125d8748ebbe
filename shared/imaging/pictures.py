"""PNG, JPEG and WebP to pixels and pixels to PNG.

Pillow is told which parser to use, sizes are judged by the header before a pixel is decoded, and what leaves here is
pixels only: orientation is applied, and EXIF, XMP, colour profiles and comments are gone (Pillow handbook, "Security";
OWASP File Upload Cheat Sheet).
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from shared.imaging.signatures import MediaType, require_type
from shared.problems import ContentTooLarge, FieldError, Problem, field_problem

PICTURE_TYPES: Final = (MediaType.PNG, MediaType.JPEG, MediaType.WEBP)
"""What decode_picture reads."""

_FORMATS: Final = {MediaType.PNG: "PNG", MediaType.JPEG: "JPEG", MediaType.WEBP: "WEBP"}
_TEXT_LIMIT: Final = 1024 * 1024
_SIXTEEN_BIT_MODES: Final = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})

ORIENTING: Final = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"})
"""Where Pillow finds an orientation; to look for it where there is none takes as long as decoding a small picture."""

# Set once and for all threads: a decoded size that Pillow only warns of is refused, and text chunks stay small.
warnings.simplefilter("error", Image.DecompressionBombWarning)
PngImagePlugin.MAX_TEXT_CHUNK = _TEXT_LIMIT
PngImagePlugin.MAX_TEXT_MEMORY = _TEXT_LIMIT


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (h, w) grey or (h, w, 3) RGB; uint8, or uint16 for a 16-bit grey PNG.
        maximum: the value of white, 255 or 65535.
        media_type: what it was decoded from.
        transparent: whether a pixel was not opaque and so became white, or part of it.
    """

    pixels: NDArray[Any]
    maximum: int
    media_type: MediaType
    transparent: bool = False

    def scaled(self) -> NDArray[np.float32]:
        """The pixels as float32 in [0, 1]."""
        return np.asarray(self.pixels, dtype=np.float32) / np.float32(self.maximum)


def decode_picture(
    data: bytes,
    *,
    limit_pixels: int,
    accepted: Collection[MediaType] = PICTURE_TYPES,
    pointer: str = "/body/file",
) -> Picture:
    """Decode one still picture.

    The EXIF orientation is applied. An alpha channel is laid over white; palettes become RGB; CMYK becomes RGB;
    16-bit RGB is reduced to 8 bits, 16-bit grey is kept.

    Args:
        data: the whole file.
        limit_pixels: most pixels, judged by the header.
        accepted: the types that the caller wants.
        pointer: the field to blame.

    Raises:
        UnsupportedMediaType: the content is of another type.
        ContentTooLarge: more pixels than allowed.
        UnprocessableContent: animated, truncated or damaged.
    """
    media_type = require_type(data, accepted, pointer=pointer)
    if media_type is MediaType.PNG:
        _require_whole_png(data, pointer)
    try:
        with Image.open(io.BytesIO(data), formats=[_FORMATS[media_type]]) as image:
            _require_size(image, limit_pixels, pointer)
            _require_still(image, media_type, pointer)
            image.load()
            upright = ImageOps.exif_transpose(image) if ORIENTING.intersection(image.info) else image
            pixels, transparent = _to_array(upright)
    except Problem:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(pointer, f"The picture is larger than {limit_pixels} pixels.") from None
    except UnidentifiedImageError:
        raise field_problem(pointer, f"The header of this {media_type} file is damaged.") from None
    except Exception:  # decoders throw anything at damaged bytes; the caller is told the same
        raise field_problem(pointer, f"This {media_type} file is cut off or damaged and cannot be decoded.") from None
    return Picture(pixels, 65535 if pixels.dtype == np.uint16 else 255, media_type, transparent)


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16], *, level: int = 6) -> bytes:
    """Write a PNG without any metadata.

    Args:
        pixels: (h, w) uint8 or uint16 grey, or (h, w, 3) uint8 RGB.
        level: of compression, 0 to 9; 0 is the quickest by far, for what is read again at once.

    Raises:
        ValueError: another shape or dtype.
    """
    grey = pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16)
    if not grey and not (pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8):
        raise ValueError("a PNG takes (h, w) uint8 or uint16, or (h, w, 3) uint8")
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", compress_level=level)
    return stream.getvalue()


def _too_large(pointer: str, detail: str) -> ContentTooLarge:
    return ContentTooLarge(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def _require_size(image: Image.Image, limit_pixels: int, pointer: str) -> None:
    width, height = image.size
    if width * height > limit_pixels:
        raise _too_large(pointer, f"The picture is {width} x {height} pixels; at most {limit_pixels} are accepted.")


def _require_still(image: Image.Image, media_type: MediaType, pointer: str) -> None:
    # The further images of a JPEG (Multi-Picture Format, common from phones) are views of the same scene.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and media_type is not MediaType.JPEG:
        raise field_problem(pointer, f"The picture is animated ({frames} frames); send a single frame.")


def _require_whole_png(data: bytes, pointer: str) -> None:
    # Pillow forgives a missing end; a caller whose upload broke off wants to know.
    position = 8
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        position += 12 + length
        if position > len(data):
            break
        if kind == b"IEND":
            return
    raise field_problem(pointer, f"The PNG file is cut off: it ends after {len(data)} bytes without its end chunk.")


def _to_array(image: Image.Image) -> tuple[NDArray[Any], bool]:
    """The pixels over white, and whether any of them was not opaque."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bits(image)
    target = "L" if image.mode in {"1", "L", "LA"} else "RGB"
    transparent = False
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        transparent = layer.getchannel("A").getextrema()[0] != 255
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode != target:
        image = image.convert(target)
    shape = (image.height, image.width) if target == "L" else (image.height, image.width, len(target))
    return np.frombuffer(image.tobytes(), np.uint8).reshape(shape), transparent


def _sixteen_bits(image: Image.Image) -> tuple[NDArray[Any], bool]:
    """Sixteen-bit grey, of which one value may be transparent (PNG 11.3.2.1)."""
    pixels = np.asarray(image).astype(np.uint16)
    value = image.info.get("transparency")
    clear = pixels == value if isinstance(value, int) else np.zeros(pixels.shape, bool)
    pixels[clear] = 65535
    return pixels, bool(clear.any())
