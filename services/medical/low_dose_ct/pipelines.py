"""From a posted file to an answer: decode, compute, encode, as plain functions that block.

Routes run decode and encode in threads and await the network's batcher between them; jobs do all three for each slice
of a series, one after another (`Pipeline.process`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from services.medical.low_dose_ct import answers
from services.medical.low_dose_ct.answers import Place
from services.medical.low_dose_ct.inference import (
    Denoising,
    Enhanced,
    Image,
    back_project,
    run_parts,
    unenhanced,
)
from services.medical.low_dose_ct.inputs import read_reference, read_sinogram, read_slice
from services.medical.low_dose_ct.schemas import (
    DenoisingOptions,
    EnhancementAnswer,
    EnhancementOptions,
    ReconstructionAnswer,
    ReconstructionOptions,
)
from shared.answers.representations import LinkedAnswer
from shared.imaging.dicom import CtSlice
from shared.imaging.sizes import stated_pixels
from shared.imaging.windows import Window, parse_window
from shared.runtime.models.sessions import OnnxModel
from shared.telemetry.timing import timed


@dataclass(frozen=True, slots=True)
class Decoded:
    """A posted file, ready for the network.

    Attributes:
        image: normalised attenuation, float32 (rows, columns).
        source: the DICOM object that the slice came as, if it did.
        pixel_size_mm: side of a pixel, where the geometry is known.
        padding_pixels: pixels that the scanner did not see.
        caveats: what makes the posted values doubtful.
    """

    image: Image
    source: CtSlice | None = None
    pixel_size_mm: float | None = None
    padding_pixels: int = 0
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded file, and what the denoiser is to be run on; None where there is none."""

    decoded: Decoded
    denoising: Denoising | None


@dataclass(frozen=True, slots=True)
class Processed:
    """One slice, done: what was posted, and the image before and after the network."""

    decoded: Decoded
    result: Enhanced


@dataclass(frozen=True, slots=True)
class Pipeline(ABC):
    """What both ways to an enhanced slice share.

    Attributes:
        options: checked options.
        model: the denoiser, None to do without.
        pixel_limit: most elements of a posted array or image.
    """

    options: DenoisingOptions
    model: OnnxModel | None
    pixel_limit: int

    @property
    def window(self) -> Window:
        """The window that pictures are drawn with, and that a posted PNG was drawn with."""
        return parse_window(self.options.window, pointer="/body/window")

    @abstractmethod
    def decode(self, data: bytes, *, pointer: str = "/body/file") -> Decoded:
        """Everything before the network; problems name the file by its pointer."""

    @abstractmethod
    def describe(self, processed: Processed, reference: Image | None) -> LinkedAnswer:
        """The slice in figures, compared with the reference if there is one."""

    def cost(self, data: bytes) -> int:
        """Pixels that the request will hold in memory, by the header of the posted file."""
        return stated_pixels(data)

    def prepare(self, data: bytes, *, pointer: str = "/body/file") -> Prepared:
        """Decode a file and decide what the denoiser is run on."""
        decoded = self.decode(data, pointer=pointer)
        if self.model is None:
            return Prepared(decoded, None)
        with timed("pre"):
            return Prepared(decoded, Denoising.plan(decoded.image, self.model.card, self.options.noise_level))

    def finish(self, prepared: Prepared, clean: Image | None) -> Processed:
        """Take what the denoiser answered; None where it was not run."""
        plan = prepared.denoising
        return Processed(prepared.decoded, unenhanced(prepared.decoded.image) if plan is None else plan.finish(clean))

    def process(
        self, data: bytes, *, pointer: str = "/body/file", pause: Callable[[], None] = lambda: None
    ) -> Processed:
        """Decode and compute in this thread; `pause` is called before each run of the network, and may raise."""
        prepared = self.prepare(data, pointer=pointer)
        if self.model is None or prepared.denoising is None:
            return self.finish(prepared, None)
        return Processed(prepared.decoded, run_parts(prepared.denoising, self.model, pause=pause))

    def encode(self, processed: Processed, media_type: str, *, place: Place | None = None) -> bytes:
        """The slice as PNG, NPY or DICOM: derived from the posted object where there was one, else a new object."""
        with timed("post"):
            return answers.encode(
                processed.result,
                media_type,
                unit=self.options.unit,
                window=self.window,
                source=processed.decoded.source,
                pixel_size_mm=processed.decoded.pixel_size_mm,
                place=place,
            )

    def read_reference(self, data: bytes, processed: Processed) -> Image:
        """The posted image that the answer is to be compared with."""
        shape, unit = answers.shape_of(processed.result.after), self.options.unit
        return read_reference(data, unit=unit, shape=shape, window=self.window, pixel_limit=self.pixel_limit)


@dataclass(frozen=True, slots=True)
class ReconstructionPipeline(Pipeline):
    """Sinogram in, slice out.

    Attributes:
        threads: threads of the back-projection.
    """

    options: ReconstructionOptions
    threads: int

    def cost(self, data: bytes) -> int:
        """Elements of the sinogram and pixels of the slice that is made of it."""
        return stated_pixels(data) + self.options.image_size**2

    def decode(self, data: bytes, *, pointer: str = "/body/file") -> Decoded:
        """Read a posted sinogram and project it back."""
        unit, geometry = self.options.sinogram_unit, self.options.geometry
        with timed("pre"):
            sinogram = read_sinogram(data, geometry, unit=unit, pixel_limit=self.pixel_limit, pointer=pointer)
        image = back_project(sinogram, self.options, threads=self.threads)
        return Decoded(image, pixel_size_mm=geometry.pixel_size * 1000)

    def describe(self, processed: Processed, reference: Image | None) -> ReconstructionAnswer:
        """The reconstruction in figures, compared with the reference if there is one."""
        with timed("post"):
            return answers.describe_reconstruction(processed.result, self.options, reference)


@dataclass(frozen=True, slots=True)
class EnhancementPipeline(Pipeline):
    """Noisy slice in, enhanced slice out."""

    options: EnhancementOptions
    model: OnnxModel

    def decode(self, data: bytes, *, pointer: str = "/body/file") -> Decoded:
        """Read a posted slice."""
        with timed("pre"):
            unit, limit = self.options.unit, self.pixel_limit
            posted = read_slice(data, unit=unit, window=self.window, pixel_limit=limit, pointer=pointer)
            padding, caveats = posted.padding_pixels, posted.caveats
            return Decoded(posted.attenuation, posted.source, padding_pixels=padding, caveats=caveats)

    def describe(self, processed: Processed, reference: Image | None) -> EnhancementAnswer:
        """The enhancement in figures, compared with the reference if there is one."""
        with timed("post"):
            decoded = processed.decoded
            return answers.describe_enhancement(
                processed.result, decoded.padding_pixels, reference, doubts=decoded.caveats
            )
