"""DICOM answers: what is kept of the source, what is new, what is gone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import JPEG2000, UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from shared.imaging.dicom import CtSlice, read_ct
from shared.imaging.dicom_writing import RESEARCH_NOTICE, SlicePlace, derive_ct, new_ct, new_series_uid
from tests.unit.shared.imaging.conftest import PATIENT, BuildCt

LIMIT = 100_000


def derived(source: CtSlice, hu: NDArray[Any], **options: Any) -> tuple[FileDataset, CtSlice]:
    data = derive_ct(source, hu, series_description="Denoised", derivation="DRUNet 1.0", **options)
    return pydicom.dcmread(io.BytesIO(data)), read_ct(data, limit_pixels=LIMIT)


def test_the_file_is_valid_and_refers_to_its_source(build_ct: BuildCt) -> None:
    source = read_ct(build_ct(), limit_pixels=LIMIT)
    dataset, _ = derived(source, source.hu, software="facet 0.1 drunet 1.0")
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert dataset.StudyInstanceUID == "1.2.3.2"
    assert dataset.SOPInstanceUID != "1.2.3.1"
    assert dataset.SeriesInstanceUID != "1.2.3.3"
    assert all(UID(uid).is_valid for uid in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID))
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    reference = dataset.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == "1.2.3.1"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert (dataset.DerivationDescription, dataset.SeriesDescription) == ("DRUNet 1.0", "Denoised")
    assert dataset.ImageComments == RESEARCH_NOTICE
    assert (dataset.Manufacturer, dataset.SoftwareVersions) == ("Facet", "facet 0.1 drunet 1.0")
    scanner = dataset.ContributingEquipmentSequence[0]
    assert (scanner.Manufacturer, scanner.DeviceSerialNumber) == ("Scanner works", "S-1")
    assert "DeviceSerialNumber" not in dataset


def test_patient_and_geometry_are_kept(build_ct: BuildCt) -> None:
    source = read_ct(build_ct(), limit_pixels=LIMIT)
    dataset, again = derived(source, source.hu)
    assert (dataset.PatientName, dataset.PatientID) == (PATIENT, "4711")
    assert (again.spacing_mm, again.position_mm) == (source.spacing_mm, source.position_mm)
    np.testing.assert_array_equal(again.hu, source.hu)


def test_each_answer_has_uids_of_its_own(build_ct: BuildCt) -> None:
    source = read_ct(build_ct(), limit_pixels=LIMIT)
    series = new_series_uid()
    first, second = (derived(source, source.hu, series_uid=series)[0] for _ in range(2))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID == series


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, -1024), (0.5, -1000), (-1, 0)])
def test_values_return_to_the_stored_grid(slope: float, intercept: float, build_ct: BuildCt) -> None:
    source = read_ct(build_ct(RescaleSlope=slope, RescaleIntercept=intercept), limit_pixels=LIMIT)
    processed = source.hu + np.float32(0.3)
    dataset, again = derived(source, processed)
    assert (dataset.RescaleSlope, dataset.RescaleIntercept) == (slope, intercept)
    kept = source.hu > -1024
    assert np.abs(again.hu - processed)[kept].max() <= abs(slope) / 2 + 1e-3


def test_values_are_clipped_to_the_stored_bits(build_ct: BuildCt) -> None:
    source = read_ct(build_ct(BitsStored=12, HighBit=11), limit_pixels=LIMIT)
    hu = np.full(source.hu.shape, 9000.0)
    hu[0] = -9000
    dataset, _ = derived(source, hu)
    pixels = dataset.pixel_array
    assert (pixels[0].max(), pixels[1:].min(), dataset.BitsStored, dataset.HighBit) == (0, 4095, 12, 11)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_padding_stays_padding(syntax: str, build_ct: BuildCt, stored_slice: NDArray[np.uint16]) -> None:
    stored = stored_slice.astype(np.int16) - 1000
    stored[:3] = -2000
    source = read_ct(build_ct(stored, syntax=syntax, RescaleIntercept=0, PixelPaddingValue=-2000), limit_pixels=LIMIT)
    dataset, again = derived(source, source.hu + 1)
    assert dataset.PixelPaddingValue == -2000
    assert (dataset.pixel_array[:3] == -2000).all()
    np.testing.assert_array_equal(again.padding, source.padding)


def test_what_described_the_old_pixels_is_gone(build_ct: BuildCt) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 1
    data = build_ct(
        SmallestImagePixelValue=1, LargestImagePixelValue=99, IconImageSequence=[icon], InstanceCreatorUID="1.2.9"
    )
    file = pydicom.dcmread(io.BytesIO(data))
    file.private_block(0x0029, "MAKER", create=True).add_new(1, "LO", "secret")
    file.add_new(0x60003000, "OW", b"\x00\x00")
    file.add_new(0x60000010, "US", 1)
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    source = read_ct(stream.getvalue(), limit_pixels=LIMIT)
    dataset, _ = derived(source, source.hu)
    left = {element.keyword for element in dataset}
    assert not left & {
        "SmallestImagePixelValue", "LargestImagePixelValue", "IconImageSequence", "InstanceCreatorUID", "OverlayData",
    }  # fmt: skip
    assert not any(element.tag.is_private or element.tag.group == 0x6000 for element in dataset)


def test_elements_that_cannot_be_read_are_left_out(build_ct: BuildCt) -> None:
    data = build_ct(KVP="120").replace(b"\x18\x00\x50\x00DS", b"\x18\x00\x50\x00ZZ")
    source = read_ct(data, limit_pixels=LIMIT)
    dataset, _ = derived(source, source.hu)
    assert "SliceThickness" not in dataset
    assert dataset.KVP == 120


def test_once_lossy_always_lossy(build_ct: BuildCt) -> None:
    plain = read_ct(build_ct(), limit_pixels=LIMIT)
    assert "LossyImageCompression" not in derived(plain, plain.hu)[0]
    marked = read_ct(build_ct(LossyImageCompression="01", LossyImageCompressionRatio=8), limit_pixels=LIMIT)
    assert derived(marked, marked.hu)[0].LossyImageCompressionRatio == 8
    stream = io.BytesIO()
    grey = np.full((8, 8), 90, np.uint8)
    Image.fromarray(grey).save(stream, "JPEG")
    jpeg = read_ct(build_ct(grey, syntax=JPEGBaseline8Bit, codestream=stream.getvalue()), limit_pixels=LIMIT)
    dataset, again = derived(jpeg, jpeg.hu)
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    np.testing.assert_array_equal(again.hu, jpeg.hu)


def test_times_are_in_the_zone_of_the_source(build_ct: BuildCt) -> None:
    times = []
    for offset in ("+0000", "+0900"):
        source = read_ct(build_ct(TimezoneOffsetFromUTC=offset), limit_pixels=LIMIT)
        dataset, _ = derived(source, source.hu)
        times.append(pydicom.valuerep.DT(str(dataset.ContentDate) + str(dataset.ContentTime)))
    assert times[0] is not None
    assert times[1] is not None
    assert 8.9 < (times[1] - times[0]).total_seconds() / 3600 < 9.1


@pytest.mark.parametrize("hu", [np.zeros((3, 3)), np.full((40, 48), np.nan)])
def test_only_images_of_the_source_are_taken(hu: NDArray[Any], build_ct: BuildCt) -> None:
    source = read_ct(build_ct(), limit_pixels=LIMIT)
    with pytest.raises(ValueError, match="the image"):
        derive_ct(source, hu, series_description="x", derivation="x")


def test_a_new_slice_can_be_read_again() -> None:
    hu = np.linspace(-1024, 3000, 35, dtype=np.float32).reshape(5, 7)
    data = new_ct(
        hu,
        spacing_mm=(0.7, 0.8),
        series_description="FBP",
        derivation="Hann 0.9",
        slice_thickness_mm=1.25,
        place=SlicePlace(position_mm=-7.5),
    )
    again = read_ct(data, limit_pixels=LIMIT)
    assert np.abs(again.hu - hu).max() <= 0.5
    assert (again.spacing_mm, again.position_mm, again.slope, again.intercept) == ((0.7, 0.8), -7.5, 1, -1024)
    dataset = pydicom.dcmread(io.BytesIO(data))
    assert dataset.PatientName == ""
    assert dataset.ImageComments == RESEARCH_NOTICE
    np.testing.assert_array_equal(dataset.pixel_array, again.hu + 1024)
    for keyword in (
        "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
        "ReferringPhysicianName", "SeriesNumber", "PositionReferenceIndicator", "KVP", "AcquisitionNumber",
        "SliceThickness", "ImageOrientationPatient", "FrameOfReferenceUID",
    ):  # fmt: skip
        assert keyword in dataset, f"{keyword} is required by the CT Image IOD"


def test_a_new_slice_is_clipped_to_what_sixteen_bits_hold() -> None:
    data = new_ct(np.array([[-5000.0, 1e6]]), spacing_mm=(1, 1), series_description="x", derivation="x")
    assert pydicom.dcmread(io.BytesIO(data)).pixel_array.tolist() == [[0, 65535]]


@pytest.mark.parametrize("hu", [np.zeros(4), np.zeros((2, 2, 2)), np.full((2, 2), np.inf)])
def test_a_new_slice_is_one_finite_image(hu: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="the image"):
        new_ct(hu, spacing_mm=(1, 1), series_description="x", derivation="x")


def test_a_source_without_its_maker_has_equipment_that_says_so(build_ct: BuildCt) -> None:
    """Manufacturer is of type 1 in a contributing equipment (PS3.3 C.12.1)."""
    source = read_ct(build_ct(remove=("Manufacturer",)), limit_pixels=LIMIT)
    (scanner,) = derived(source, source.hu)[0].ContributingEquipmentSequence
    assert (scanner.Manufacturer, scanner.DeviceSerialNumber) == ("UNKNOWN", "S-1")


def test_the_history_of_the_source_goes_on(build_ct: BuildCt) -> None:
    step = Dataset()
    step.CodeValue, step.CodingSchemeDesignator, step.CodeMeaning = "113040", "DCM", "Lossy Compression"
    data = build_ct(
        DerivationCodeSequence=[step], DerivationDescription="Compressed", ImageComments="arms down", SeriesNumber=4
    )
    source = read_ct(data, limit_pixels=LIMIT)
    dataset, _ = derived(source, source.hu)
    assert [each.CodeValue for each in dataset.DerivationCodeSequence] == ["113040", "113087"]
    assert dataset.DerivationDescription == "Compressed; DRUNet 1.0"
    assert dataset.ImageComments == f"arms down; {RESEARCH_NOTICE}"
    assert dataset.SeriesNumber == 1004


def test_a_long_history_leaves_room_for_the_last_step(build_ct: BuildCt) -> None:
    source = read_ct(build_ct(DerivationDescription="x" * 1024), limit_pixels=LIMIT)
    description = derived(source, source.hu)[0].DerivationDescription
    assert (len(description), description.endswith("; DRUNet 1.0")) == (1024, True)


@pytest.mark.parametrize("reversible", [True, False])
def test_what_a_codestream_lost_is_said_though_the_source_does_not(
    reversible: bool, build_ct: BuildCt, stored_slice: NDArray[np.uint16]
) -> None:
    """The 9-7 wavelet of JPEG 2000 is irreversible (PS3.3 C.7.6.1.1.5)."""
    stream = io.BytesIO()
    rates = {"quality_mode": "rates", "quality_layers": [4]}
    Image.fromarray(stored_slice).save(stream, "JPEG2000", irreversible=not reversible, no_jp2=True, **rates)
    data = build_ct(syntax=JPEG2000, codestream=stream.getvalue())
    source = read_ct(data, limit_pixels=LIMIT)
    dataset, _ = derived(source, source.hu)
    if reversible:
        assert "LossyImageCompression" not in dataset
    else:
        assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
        assert 2 < float(dataset.LossyImageCompressionRatio) < 8


def test_an_array_that_no_network_saw_is_not_called_smoothed() -> None:
    hu = np.zeros((8, 8), np.float32)
    plain, smooth = (
        pydicom.dcmread(
            io.BytesIO(new_ct(hu, spacing_mm=(1, 1), series_description="", derivation="FBP", smoothed=smoothed))
        )
        for smoothed in (False, True)
    )
    assert "DerivationCodeSequence" not in plain
    assert smooth.DerivationCodeSequence[0].CodeValue == "113087"
