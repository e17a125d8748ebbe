"""From a posted file to an answer: decode, compute, encode. Routes run it for one slice, jobs for each of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.medical.low_dose_ct import answers
from services.medical.low_dose_ct.answers import Place
from services.medical.low_dose_ct.inference import Enhanced, Image, denoise, reconstruct
from services.medical.low_dose_ct.inputs import read_reference, read_sinogram, read_slice
from services.medical.low_dose_ct.schemas import (
    EnhancementAnswer,
    EnhancementOptions,
    ReconstructionAnswer,
    ReconstructionOptions,
)
from shared.imaging.dicom import CtSlice
from shared.imaging.windows import Window, parse_window
from shared.runtime.sessions import OnnxModel
from shared.telemetry.timing import timed


@dataclass(frozen=True, slots=True)
class Processed:
    """One slice, done.

    Attributes:
        result: the image before and after the network.
        source: the DICOM object that the slice came as, if it did.
        padding_pixels: pixels that the scanner did not see.
    """

    result: Enhanced
    source: CtSlice | None = None
    padding_pixels: int = 0


class Pipeline(Protocol):
    """What a series needs to know of a pipeline."""

    @property
    def window(self) -> Window:
        """The window that pictures are drawn with."""

    def process(self, data: bytes, *, pointer: str = "/body/file") -> Processed:
        """Decode a posted file and compute; problems name the file by its pointer."""

    def encode(self, processed: Processed, media_type: str, *, place: Place | None = None) -> bytes:
        """The slice as a file."""


@dataclass(frozen=True, slots=True)
class ReconstructionPipeline:
    """Sinogram in, slice out.

    Attributes:
        options: checked options.
        model: the denoiser, None to stop after filtered back-projection.
        pixel_limit: most elements of a posted array.
        threads: threads of the back-projection.
    """

    options: ReconstructionOptions
    model: OnnxModel | None
    pixel_limit: int
    threads: int

    @property
    def window(self) -> Window:
        """The window that pictures are drawn with."""
        return parse_window(self.options.window, pointer="/body/window")

    def process(self, data: bytes, *, pointer: str = "/body/file") -> Processed:
        """Reconstruct a posted sinogram."""
        unit, geometry = self.options.sinogram_unit, self.options.geometry
        with timed("pre"):
            sinogram = read_sinogram(data, geometry, unit=unit, pixel_limit=self.pixel_limit, pointer=pointer)
        return Processed(reconstruct(sinogram, self.options, self.model, threads=self.threads))

    def encode(self, processed: Processed, media_type: str, *, place: Place | None = None) -> bytes:
        """The reconstruction as PNG, NPY or a new DICOM object."""
        with timed("post"):
            return answers.encode(
                processed.result,
                media_type,
                unit=self.options.unit,
                window=self.window,
                pixel_size_mm=self.options.geometry.pixel_size * 1000,
                place=place,
            )

    def describe(self, processed: Processed, reference: bytes | None) -> ReconstructionAnswer:
        """The reconstruction in figures, compared with the posted reference if there is one."""
        with timed("post"):
            compared = None if reference is None else self._read_reference(reference)
            return answers.describe_reconstruction(processed.result, self.options, compared)

    def _read_reference(self, data: bytes) -> Image:
        shape = self.options.geometry.image_shape
        return read_reference(
            data, unit=self.options.unit, shape=shape, window=self.window, pixel_limit=self.pixel_limit
        )


@dataclass(frozen=True, slots=True)
class EnhancementPipeline:
    """Noisy slice in, enhanced slice out.

    Attributes:
        options: checked options.
        model: the denoiser.
        pixel_limit: most pixels of a posted slice.
    """

    options: EnhancementOptions
    model: OnnxModel
    pixel_limit: int

    @property
    def window(self) -> Window:
        """The window that pictures are drawn with, and that a posted PNG was drawn with."""
        return parse_window(self.options.window, pointer="/body/window")

    def process(self, data: bytes, *, pointer: str = "/body/file") -> Processed:
        """Enhance a posted slice."""
        with timed("pre"):
            unit, limit = self.options.unit, self.pixel_limit
            posted = read_slice(data, unit=unit, window=self.window, pixel_limit=limit, pointer=pointer)
        result = denoise(posted.attenuation, self.model, self.options.noise_level)
        return Processed(result, posted.source, posted.padding_pixels)

    def encode(self, processed: Processed, media_type: str, *, place: Place | None = None) -> bytes:
        """The slice as PNG, NPY or a DICOM object derived from the posted one."""
        with timed("post"):
            return answers.encode(
                processed.result,
                media_type,
                unit=self.options.unit,
                window=self.window,
                source=processed.source,
                place=place,
            )

    def describe(self, processed: Processed, reference: bytes | None) -> EnhancementAnswer:
        """The enhancement in figures, compared with the posted reference if there is one."""
        with timed("post"):
            compared = None
            if reference is not None:
                unit, limit = self.options.unit, self.pixel_limit
                shape = answers.shape_of(processed.result.after)
                compared = read_reference(reference, unit=unit, shape=shape, window=self.window, pixel_limit=limit)
            return answers.describe_enhancement(processed.result, processed.padding_pixels, compared)
