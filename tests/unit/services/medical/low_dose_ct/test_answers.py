"""Answers as files and figures, below HTTP: places in a series, caveats, refusals."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from services.medical.low_dose_ct import answers
from services.medical.low_dose_ct.answers import Place
from services.medical.low_dose_ct.inference import Enhanced
from services.medical.low_dose_ct.reconstruction.geometry import LODOPAB
from services.medical.low_dose_ct.schemas import EnhancementAnswer, ReconstructionOptions
from shared.http.negotiation import DICOM, ZIP
from shared.imaging.windows import parse_window
from shared.runtime.cards import ModelReference

WINDOW = parse_window("lung")


def enhanced(model: str | None = "low-dose-ct") -> Enhanced:
    image = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    reference = None if model is None else ModelReference(name=model, version="1.2.3", weights_sha256="f" * 64)
    return Enhanced(before=image, after=image * np.float32(0.9), model=reference, noise_level=0.05)


def test_dicom_takes_its_place_in_a_series() -> None:
    place = Place(series_uid="2.25.1", study_uid="2.25.2", frame_uid="2.25.3", number=7, distance_mm=2.5)
    dataset = pydicom.dcmread(
        io.BytesIO(answers.encode(enhanced(), DICOM, unit="hu", window=WINDOW, pixel_size_mm=0.5, place=place))
    )
    assert (dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.InstanceNumber) == ("2.25.1", "2.25.2", 7)
    assert (dataset.FrameOfReferenceUID, list(dataset.ImagePositionPatient)) == ("2.25.3", [0, 0, 15])
    assert [float(spacing) for spacing in dataset.PixelSpacing] == [0.5, 0.5]
    assert "low-dose-ct 1.2.3" in dataset.DerivationDescription
    assert "not a medical device" in dataset.ImageComments


def test_dicom_without_a_network_says_how_it_was_made() -> None:
    dataset = pydicom.dcmread(io.BytesIO(answers.encode(enhanced(None), DICOM, unit="hu", window=WINDOW)))
    assert dataset.DerivationDescription == "Filtered back-projection"


def test_places_that_nobody_knows_are_said_to_be_assumed() -> None:
    place = Place(series_uid="2.25.1", study_uid="2.25.2", frame_uid="2.25.3", number=3)
    dataset = pydicom.dcmread(io.BytesIO(answers.encode(enhanced(), DICOM, unit="hu", window=WINDOW, place=place)))
    assert (list(dataset.ImagePositionPatient), dataset.SpacingBetweenSlices) == ([0, 0, 2], 1)
    assert "1 mm apart by assumption" in dataset.ImageComments


def test_air_alone_is_a_caveat_where_the_unit_may_be_wrong() -> None:
    air = np.full((10, 10), 0.0005, np.float32)
    result = Enhanced(before=air, after=air, model=None, noise_level=None)
    said = answers.describe_reconstruction(result, ReconstructionOptions(sinogram_unit="line-integral"), None).caveats
    assert ["nothing but air" in caveat for caveat in said] == [True]
    assert answers.describe_reconstruction(result, ReconstructionOptions(), None).caveats == []


def test_type_that_no_route_offers() -> None:
    with pytest.raises(ValueError, match="application/zip"):
        answers.encode(enhanced(), ZIP, unit="hu", window=WINDOW)


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("low-dose-ct", ReconstructionOptions(image_size=10), "tuned on simulated LoDoPaB-like scans"),
        ("gaussian-denoiser", ReconstructionOptions(), "untuned baseline"),
        ("low-dose-ct", ReconstructionOptions(), "compare with `before`"),
    ],
)
def test_caveats_fit_model_and_geometry(model: str, options: ReconstructionOptions, word: str) -> None:
    caveats = answers.describe_reconstruction(enhanced(model), options, None).caveats
    assert any(word in caveat for caveat in caveats)


def test_no_caveat_of_the_network_where_none_ran() -> None:
    assert answers.describe_reconstruction(enhanced(None), ReconstructionOptions(), None).caveats == []


def test_lodopab_is_the_default_geometry() -> None:
    assert ReconstructionOptions().geometry == LODOPAB
    used = answers.describe_geometry(LODOPAB)
    assert used.detector_pitch_m == pytest.approx(2 * 0.13 * 2**0.5 / 513)
    assert used.pixel_size_m == pytest.approx(0.26 / 362)


def test_figures_are_json_even_where_decibels_are_infinite() -> None:
    result = enhanced()
    answer = answers.describe_enhancement(result, 0, result.before)
    assert EnhancementAnswer.model_validate_json(answer.model_dump_json()) == answer
    assert answer.comparison is not None
    assert answer.comparison.before.psnr_db is None
    assert answer.comparison.after.psnr_db is not None
