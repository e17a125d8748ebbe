"""From a posted file to an answer: decode, compute, encode. Routes run it for one slice, jobs for each of a series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel

from services.medical.low_dose_ct import answers
from services.medical.low_dose_ct.answers import Place
from services.medical.low_dose_ct.inference import Enhanced, Image, denoise, reconstruct
from services.medical.low_dose_ct.inputs import read_reference, read_sinogram, read_slice
from services.medical.low_dose_ct.schemas import (
    DenoisingOptions,
    EnhancementAnswer,
    EnhancementOptions,
    ReconstructionAnswer,
    ReconstructionOptions,
)
from shared.imaging.dicom import CtSlice
from shared.imaging.windows import Window, parse_window
from shared.runtime.batchers import Runnable
from shared.telemetry.timing import timed


@dataclass(frozen=True, slots=True)
class Processed:
    """One slice, done.

    Attributes:
        result: the image before and after the network.
        source: the DICOM object that the slice came as, if it did.
        pixel_size_mm: side of a pixel, where the geometry is known.
        padding_pixels: pixels that the scanner did not see.
    """

    result: Enhanced
    source: CtSlice | None = None
    pixel_size_mm: float | None = None
    padding_pixels: int = 0


@dataclass(frozen=True, slots=True)
class Pipeline(ABC):
    """What both ways to an enhanced slice share.

    Attributes:
        options: checked options.
        model: the denoiser, None to do without.
        pixel_limit: most elements of a posted array or image.
    """

    options: DenoisingOptions
    model: Runnable | None
    pixel_limit: int

    @property
    def window(self) -> Window:
        """The window that pictures are drawn with, and that a posted PNG was drawn with."""
        return parse_window(self.options.window, pointer="/body/window")

    @abstractmethod
    def process(self, data: bytes, *, pointer: str = "/body/file") -> Processed:
        """Decode a posted file and compute; problems name the file by its pointer."""

    @abstractmethod
    def describe(self, processed: Processed, reference: bytes | None) -> BaseModel:
        """The slice in figures, compared with the posted reference if there is one."""

    def encode(self, processed: Processed, media_type: str, *, place: Place | None = None) -> bytes:
        """The slice as PNG, NPY or DICOM: derived from the posted object where there was one, else a new object."""
        with timed("post"):
            return answers.encode(
                processed.result,
                media_type,
                unit=self.options.unit,
                window=self.window,
                source=processed.source,
                pixel_size_mm=processed.pixel_size_mm,
                place=place,
            )

    def _reference(self, posted: bytes | None, result: Enhanced) -> Image | None:
        """The image to compare with, if one was posted."""
        if posted is None:
            return None
        shape, unit = answers.shape_of(result.after), self.options.unit
        return read_reference(posted, unit=unit, shape=shape, window=self.window, pixel_limit=self.pixel_limit)


@dataclass(frozen=True, slots=True)
class ReconstructionPipeline(Pipeline):
    """Sinogram in, slice out.

    Attributes:
        threads: threads of the back-projection.
    """

    options: ReconstructionOptions
    threads: int

    def process(self, data: bytes, *, pointer: str = "/body/file") -> Processed:
        """Reconstruct a posted sinogram."""
        unit, geometry = self.options.sinogram_unit, self.options.geometry
        with timed("pre"):
            sinogram = read_sinogram(data, geometry, unit=unit, pixel_limit=self.pixel_limit, pointer=pointer)
        result = reconstruct(sinogram, self.options, self.model, threads=self.threads)
        return Processed(result, pixel_size_mm=geometry.pixel_size * 1000)

    def describe(self, processed: Processed, reference: bytes | None) -> ReconstructionAnswer:
        """The reconstruction in figures, compared with the posted reference if there is one."""
        with timed("post"):
            compared = self._reference(reference, processed.result)
            return answers.describe_reconstruction(processed.result, self.options, compared)


@dataclass(frozen=True, slots=True)
class EnhancementPipeline(Pipeline):
    """Noisy slice in, enhanced slice out."""

    options: EnhancementOptions
    model: Runnable

    def process(self, data: bytes, *, pointer: str = "/body/file") -> Processed:
        """Enhance a posted slice."""
        with timed("pre"):
            unit, limit = self.options.unit, self.pixel_limit
            posted = read_slice(data, unit=unit, window=self.window, pixel_limit=limit, pointer=pointer)
        result = denoise(posted.attenuation, self.model, self.options.noise_level)
        return Processed(result, posted.source, padding_pixels=posted.padding_pixels)

    def describe(self, processed: Processed, reference: bytes | None) -> EnhancementAnswer:
        """The enhancement in figures, compared with the posted reference if there is one."""
        with timed("post"):
            compared = self._reference(reference, processed.result)
            return answers.describe_enhancement(processed.result, processed.padding_pixels, compared)
