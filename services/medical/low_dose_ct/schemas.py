"""What the CT routes take and give. Every answer says how the image was made, so that a number can be checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.medical.low_dose_ct.images.attenuation import HU_MAX, MU_AIR, MU_MAX, MU_WATER
from services.medical.low_dose_ct.reconstruction.filters import FilterName, Ramp
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB, ParallelBeam
from shared.answers.representations import STORE_HELP, LinkedAnswer
from shared.http.route_parts import File
from shared.runtime.cards import ModelReference

DISCLAIMER = "Research use only, not a medical device."

Unit = Literal["hu", "normalised"]
SinogramUnit = Literal["normalised", "line-integral"]
ModelName = Literal["low-dose-ct", "gaussian-denoiser"]

WINDOW_HELP = (
    "HU window that PNG answers and previews are drawn with: lung, mediastinum, soft-tissue, bone, full, or "
    "`center,width` in HU"
)


Measured = Annotated[float, AfterValidator(lambda value: round(value, 4))]
"""A measured figure; further digits would be noise."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DenoisingOptions(_Options):
    """What reconstruction and enhancement have in common."""

    model: ModelName = Field(
        default="low-dose-ct",
        description="`low-dose-ct` was fine-tuned on CT; `gaussian-denoiser` knows photographs only (untuned baseline)",
    )
    noise_level: float | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="Noise of the image, if you know it: standard deviation in soft tissue, in normalised attenuation "
        "(1 HU = 0.000246). It is what the network is fed. For `low-dose-ct` it also decides how much of the network's "
        "answer is given: none up to 28 HU (0.0069), all from 40 HU (0.0098) on, a share in between; by default the "
        "noise is estimated from the image. `gaussian-denoiser` always answers whole, by default with 25/255",
    )
    window: str = Field(default="lung", description=WINDOW_HELP, examples=["lung", "40,400"])
    unit: Unit = Field(
        default="hu", description="Unit of NPY answers: Hounsfield units, or attenuation divided by 81.35858/m"
    )
    slice_distance_mm: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Distance of the slices of a series, for DICOM answers of slices that come without a position; "
        "1 mm is assumed, and said in ImageComments, unless given",
    )
    store: list[Literal["png", "npy", "dicom"]] = Field(default=[], max_length=3, description=STORE_HELP)


class ReconstructionOptions(DenoisingOptions):
    """How to reconstruct a sinogram. The defaults are LoDoPaB-CT's geometry."""

    filter: FilterName = Field(default="hann", description="Window on the ramp filter")
    frequency_scaling: float = Field(
        default=1.0, gt=0, le=1, description="Cut-off as a fraction of the detector's Nyquist frequency"
    )
    ramp: Ramp = Field(
        default="spatial",
        description="`spatial` keeps values quantitative; `half-bin-shifted` is what published LoDoPaB and DIVal "
        "baselines used; `sampled` is the plain discrete ramp, which loses the mean",
    )
    denoise: bool = Field(default=True, description="Run the network after filtered back-projection")
    angles: int = Field(
        default=LODOPAB.angles,
        ge=1,
        le=8192,
        description="Rows of the sinogram: angles over [0, 180) degrees, at cell mid-points",
    )
    detectors: int = Field(default=LODOPAB.detectors, ge=2, le=8192, description="Columns of the sinogram")
    detector_width_m: float = Field(
        default=LODOPAB.detector_width, ge=0.001, le=10, description="Length of the detector in metres"
    )
    image_size: int = Field(default=362, ge=8, le=2048, description="Rows and columns of the image")
    image_width_m: float = Field(default=0.26, ge=0.001, le=10, description="Side of the image in metres")
    sinogram_unit: SinogramUnit = Field(
        default="normalised",
        description="`line-integral` is -ln(I/I0); `normalised` is that divided by 81.35858/m, as LoDoPaB-CT stores it",
    )

    @property
    def geometry(self) -> ParallelBeam:
        """The scanner that the options describe."""
        return ParallelBeam(
            angles=self.angles,
            detectors=self.detectors,
            detector_width=self.detector_width_m,
            image_shape=(self.image_size, self.image_size),
            image_width=self.image_width_m,
        )


class ReconstructionForm(ReconstructionOptions):
    """Multipart form of POST /v1/medical/ct/reconstructions."""

    file: list[File] = Field(
        min_length=1,
        description="Post-log sinogram, NPY, shape (angles, detectors); several files or a ZIP make a job. The first "
        "axis of the image is x, the second y, and a ray is x cos(angle) + y sin(angle) = s: a sinogram of "
        "skimage.transform.radon comes back turned by 90 degrees",
    )
    reference: File | None = Field(
        default=None, description="Normal-dose image (NPY in `unit`, or DICOM) to compare the answer with"
    )


class EnhancementOptions(DenoisingOptions):
    """How to enhance a CT slice."""


class EnhancementForm(EnhancementOptions):
    """Multipart form of POST /v1/medical/ct/enhancements."""

    file: list[File] = Field(
        min_length=1,
        description="CT slice: DICOM, NPY in `unit`, or PNG (drawn with `window`); several files or a ZIP make a job",
    )
    reference: File | None = Field(
        default=None, description="Normal-dose slice (DICOM, or NPY in `unit`) to compare the answer with"
    )


class SimulationOptions(_Options):
    """How to simulate a low-dose scan (the physics of LoDoPaB-CT)."""

    phantom: Literal["chest"] | None = Field(
        default=None, description="Scan a generated chest phantom instead of a file", examples=["chest"]
    )
    photons: int = Field(default=4096, ge=1, le=10**9, description="Photons per detector bin before attenuation")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Seed of the phantom and of the Poisson noise")
    noise: bool = Field(default=True, description="Draw Poisson counts; without, the noise-free projection is answered")
    unit: Unit = Field(default="hu", description="Unit of a posted NPY slice")
    window: str = Field(default="lung", description=WINDOW_HELP + "; read back from a posted PNG")
    sinogram_unit: SinogramUnit = Field(default="normalised", description="Unit of the answered sinogram")
    store: list[Literal["png", "npy"]] = Field(default=[], max_length=2, description=STORE_HELP)


class SimulationForm(SimulationOptions):
    """Multipart form of POST /v1/medical/ct/simulations."""

    file: File | None = Field(default=None, description="Normal-dose slice: DICOM, NPY in `unit`, or PNG")


class GeometryUsed(BaseModel):
    """The parallel-beam scanner that was assumed."""

    angles: int = Field(description="Projection angles over [0, 180) degrees: rows of the sinogram")
    detectors: int = Field(description="Detector bins: columns of the sinogram")
    detector_width_m: float = Field(description="Length of the detector in metres")
    detector_pitch_m: float = Field(description="Distance of the centres of neighbouring bins in metres")
    angle_positions: str = Field(
        description="The angles, in radians", default="(k + 1/2) * pi / angles, k = 0 .. angles - 1"
    )
    axes: str = Field(
        default="x cos(angle) + y sin(angle) = s; rows of the image along x, columns along y, both increasing",
        description="Which way the image lies; scikit-image measures angles from the other axis",
    )
    image_shape: tuple[int, int] = Field(description="Rows and columns of the image")
    image_width_m: float = Field(description="Side of the image in metres")
    pixel_size_m: float = Field(description="Side of a pixel in metres")


class FilteringUsed(BaseModel):
    """How filtered back-projection was done."""

    filter: FilterName = Field(description="Window on the ramp filter")
    frequency_scaling: float = Field(description="Cut-off as a fraction of the detector's Nyquist frequency")
    ramp: Ramp = Field(description="How the ramp was made discrete")
    scaling: str = Field(
        description="What the back-projected sum is multiplied by",
        default="pi / angles * sum over angles; an exact scan of a uniform disc returns the value of the disc",
    )


class PhysicalConstants(BaseModel):
    """Constants between Hounsfield units, attenuation and the network's range."""

    mu_water_per_m: float = Field(default=MU_WATER, description="Attenuation of water, 1/m")
    mu_air_per_m: float = Field(default=MU_AIR, description="Attenuation of air, 1/m")
    mu_max_per_m: float = Field(default=MU_MAX, description="Attenuation that is 1 in normalised values, 1/m")
    hu_max: float = Field(default=HU_MAX, description="Hounsfield units of that attenuation")
    hu_conversion: str = Field(
        default="HU = (x * mu_max - mu_water) / (mu_water - mu_air) * 1000, x being normalised attenuation",
        description="From normalised attenuation to Hounsfield units",
    )


class Statistics(BaseModel):
    """Values of an image in Hounsfield units."""

    minimum_hu: Measured = Field(description="Lowest value")
    maximum_hu: Measured = Field(description="Highest value")
    mean_hu: Measured = Field(description="Mean of all pixels")
    noise_hu: Measured = Field(
        description="Noise estimate: median absolute diagonal Haar detail / 0.6745 (Donoho and Johnstone 1994)"
    )


class Comparison(BaseModel):
    """Agreement with the posted reference."""

    psnr_db: Measured | None = Field(
        description="20 log10(R) - 10 log10(MSE), R = range of the reference (DIVal); null where the two are equal"
    )
    ssim: Measured = Field(description="7x7 uniform window, K1 0.01, K2 0.03, sample covariance, same R")
    psnr_full_range_db: Measured | None = Field(description="The same with R = 1 in normalised attenuation (PSNR-FR)")
    ssim_full_range: Measured = Field(description="The same with R = 1 (SSIM-FR)")
    mean_bias_hu: Measured = Field(description="Mean of answer minus reference, HU")


class ReferenceComparison(BaseModel):
    """The image before and after the network, each against the reference."""

    before: Comparison = Field(description="Of the image that the network was given")
    after: Comparison = Field(description="Of the image that is answered")


class _ImageAnswer(LinkedAnswer):
    shape: tuple[int, int] = Field(description="Rows and columns of the image")
    before: Statistics = Field(description="The image that the network was given")
    after: Statistics = Field(description="The image that is answered")
    mean_change_hu: Measured = Field(description="Mean of after minus before: the HU bias that the network brought in")
    comparison: ReferenceComparison | None = Field(default=None, description="Present where a reference was posted")
    model: ModelReference | None = Field(description="The network that was run, if any")
    noise_level: float | None = Field(
        description="Noise level that the network was fed, normalised attenuation; null where it was not run"
    )
    image_noise_hu: Measured | None = Field(
        default=None,
        description="Noise that decided on `network_share`: the standard deviation in soft tissue that the scan would "
        "have after a Hann kernel with cut-off 1, in HU, estimated unless `noise_level` states it; null where the "
        "network's answer is always given whole",
    )
    network_share: Measured = Field(
        description="Share of the network's answer in `after`, 0 to 1; the rest is the image before. Below 1 the image "
        "has less noise than the network was tuned for"
    )
    constants: PhysicalConstants = PhysicalConstants()
    caveats: list[str] = Field(description="What to keep in mind about this answer")
    disclaimer: str = Field(default=DISCLAIMER, description="What it must not be used for")


class ReconstructionAnswer(_ImageAnswer):
    """A reconstructed slice, described. Ask for image/png, application/x-npy or application/dicom to get the image."""

    geometry: GeometryUsed = Field(description="The scanner that was assumed")
    filtering: FilteringUsed = Field(description="How filtered back-projection was done")


class EnhancementAnswer(_ImageAnswer):
    """An enhanced slice, described. Ask for image/png, application/x-npy or application/dicom to get the image."""

    padding_pixels: int = Field(description="Pixels that the scanner did not see (below -1024 HU), set to -1024")


class SimulationAnswer(LinkedAnswer):
    """A simulated scan, described. Ask for application/x-npy to get the sinogram, image/png to see it."""

    shape: tuple[int, int] = Field(description="Angles and detector bins of the sinogram")
    geometry: GeometryUsed = Field(description="The scanner that was simulated")
    photons: int = Field(description="Photons per detector bin before attenuation")
    seed: int = Field(description="Seed of the phantom and of the Poisson noise")
    noise: bool = Field(description="Whether Poisson counts were drawn")
    sinogram_unit: SinogramUnit = Field(description="Unit of the sinogram")
    minimum: float = Field(description="Lowest value of the sinogram")
    maximum: float = Field(description="Highest value of the sinogram")
    starved_fraction: Measured = Field(description="Share of detector readings in which no photon arrived")
    constants: PhysicalConstants = Field(default=PhysicalConstants(), description="Constants of the conversion")
    disclaimer: str = Field(default=DISCLAIMER, description="What it must not be used for")
