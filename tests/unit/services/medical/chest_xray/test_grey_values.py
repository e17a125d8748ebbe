"""The grey pipeline of DICOM, against pydicom's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from services.medical.chest_xray.radiographs import Radiograph, read_radiograph
from shared.problems import UnprocessableContent
from tests.unit.services.medical.chest_xray.conftest import PIXEL_LIMIT, as_file, film_dataset, ramp


def read(dataset: Dataset) -> Radiograph:
    return read_radiograph(as_file(dataset), limit_pixels=PIXEL_LIMIT)


def lut(first: int, data: NDArray[Any], bits: int = 16) -> Dataset:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(data) % 65536, first % 65536, bits])
    table.add_new("LUTData", "US", data.tolist())
    return table


def of_reference(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.float64]:
    """What pydicom makes of it, from its darkest to its brightest possible value; polarity is left alone."""
    shown = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset), np.float64)
    values = np.asarray(apply_modality_lut(stored, dataset), np.float64)
    if "VOILUTSequence" in dataset:
        return shown / 65535.0
    if "WindowCenter" in dataset:
        # pydicom's windows end at the extremes of stored values behind the rescale.
        low, high = 0.0, 65535.0
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        if stored.dtype.kind == "i":
            low, high = -32768.0, 32767.0
        if "ModalityLUTSequence" in dataset:
            low, high, slope, intercept = 0.0, 65535.0, 1.0, 0.0
        low, high = low * slope + intercept, high * slope + intercept
        return np.asarray((shown - low) / (high - low), np.float64)
    return np.asarray((values - values.min()) / (values.max() - values.min()), np.float64)


WINDOWS: list[dict[str, Any]] = [
    {"WindowCenter": 2048, "WindowWidth": 4096},
    {"WindowCenter": 1800.5, "WindowWidth": 900.25},
    {"WindowCenter": 700, "WindowWidth": 2},
    {"WindowCenter": [1500, 3000], "WindowWidth": [1000, 200]},
    {"WindowCenter": 1500, "WindowWidth": 1000, "VOILUTFunction": "LINEAR"},
    {"WindowCenter": 1500, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 1500, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 1500, "WindowWidth": 700, "VOILUTFunction": "SIGMOID"},
    {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400},
    {"RescaleSlope": 0.25, "RescaleIntercept": 3, "WindowCenter": 500, "WindowWidth": 600},
]


@pytest.mark.parametrize("elements", WINDOWS, ids=str)
def test_windows_are_those_of_pydicom(elements: dict[str, Any]) -> None:
    stored = ramp()
    dataset = film_dataset(stored, **elements)
    found = read(dataset).greys
    assert np.abs(found - of_reference(dataset, stored)).max() < 2e-5
    assert np.ptp(found) > 0.5


def test_a_window_of_width_one_is_a_step() -> None:
    stored = ramp()
    found = read(film_dataset(stored, WindowCenter=1000, WindowWidth=1)).greys
    assert np.array_equal(found, (stored > 999.5).astype(np.float32))


def test_signed_values_are_windowed_alike() -> None:
    stored = ramp(dtype="i2", low=-2000, high=2000)
    dataset = film_dataset(stored, WindowCenter=-500, WindowWidth=1000)
    assert np.abs(read(dataset).greys - of_reference(dataset, stored)).max() < 2e-5


def test_without_a_window_the_range_is_spread() -> None:
    stored = ramp(low=300, high=900)
    found = read(film_dataset(stored)).greys
    assert np.abs(found - of_reference(film_dataset(stored), stored)).max() < 1e-6


CURVE = np.rint(65535 * (np.linspace(0, 1, 3000) ** 2)).astype(np.uint16)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_voi_lut_is_that_of_pydicom_and_goes_before_a_window(implicit: bool) -> None:
    stored = ramp()
    dataset = film_dataset(stored, WindowCenter=100, WindowWidth=10)
    dataset.VOILUTSequence = Sequence([lut(500, CURVE), lut(0, CURVE[::-1])])
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    found = read(dataset).greys
    assert np.abs(found - of_reference(dataset, stored)).max() < 1e-6
    assert len(np.unique(found)) > 100, "a window of ten steps would leave fewer"


def test_a_lut_that_states_too_few_bits_does_not_leave_the_scale() -> None:
    stored = ramp()
    dataset = film_dataset(stored)
    dataset.VOILUTSequence = Sequence([lut(0, CURVE, bits=12)])
    found = read(dataset).greys
    assert np.abs(found - of_reference(dataset, stored)).max() < 1e-6


def test_a_modality_lut_goes_before_the_window() -> None:
    stored = ramp()
    dataset = film_dataset(stored, WindowCenter=20000, WindowWidth=30000)
    dataset.ModalityLUTSequence = Sequence([lut(0, CURVE)])
    dataset.ModalityLUTSequence[0].ModalityLUTType = "US"
    found = read(dataset).greys
    assert np.abs(found - of_reference(dataset, stored)).max() < 2e-5


def test_a_voi_lut_may_begin_below_zero() -> None:
    """After a rescale: its first value is signed, whatever the VR says."""
    stored = ramp(low=0, high=2000)
    dataset = film_dataset(stored, RescaleSlope=1, RescaleIntercept=-1000)
    entries = np.arange(2001, dtype=np.uint16)
    dataset.VOILUTSequence = Sequence([lut(-1000, entries, bits=11)])
    assert np.abs(read(dataset).greys - stored / 2047).max() < 1e-6


@pytest.mark.parametrize("elements", [*WINDOWS, {}], ids=str)
def test_inversion_comes_last(elements: dict[str, Any]) -> None:
    """The window is drawn around the values of the file, and then white becomes black."""
    stored = ramp()
    plain, inverted = (
        read(film_dataset(stored, PhotometricInterpretation=one, **elements)).greys
        for one in ("MONOCHROME2", "MONOCHROME1")
    )
    assert np.abs(inverted - (1 - plain)).max() < 1e-6


def test_inverting_before_the_window_would_be_another_film() -> None:
    stored = ramp()
    dataset = film_dataset(stored, PhotometricInterpretation="MONOCHROME1", WindowCenter=900, WindowWidth=600)
    wrong = of_reference(dataset, (4095 - stored).astype(stored.dtype))
    assert np.abs(read(dataset).greys - wrong).max() > 0.5


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
    ],
)
def test_the_shape_of_the_presentation_lut_is_honoured_once(
    photometric: str, shape: str | None, inverted: bool
) -> None:
    stored = ramp()
    found = read(film_dataset(stored, PhotometricInterpretation=photometric, PresentationLUTShape=shape)).greys
    assert bool(found[0, 0] > found[-1, -1]) is inverted


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 4000])
def test_padding_is_marked_and_no_part_of_the_range(photometric: str, limit: int | None) -> None:
    stored = ramp(low=1000, high=2000)
    stored[:, :7] = 4095
    stored[:3, 20:30] = 4000
    dataset = film_dataset(stored, PhotometricInterpretation=photometric)
    dataset.add_new("PixelPaddingValue", "US", 4095)
    if limit:
        dataset.add_new("PixelPaddingRangeLimit", "US", limit)
    found = read(dataset)
    assert found.valid is not None
    assert np.array_equal(found.valid, stored < (4000 if limit else 4095))
    counted = found.greys[found.valid]
    assert (counted.min(), counted.max()) == (0, 1)
    if limit:
        inside = (stored - 1000.0) / 1000
        wanted = 1 - inside if photometric == "MONOCHROME1" else inside
        assert np.abs(found.greys - wanted)[found.valid].max() < 1e-2


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        ({"WindowCenter": "nan", "WindowWidth": "100"}, "WindowCenter"),
        ({"WindowCenter": "10", "WindowWidth": "inf"}, "WindowWidth"),
        ({"WindowCenter": "10"}, "WindowWidth"),
        ({"WindowCenter": "10", "WindowWidth": "0"}, "at least 1"),
        ({"WindowCenter": "10", "WindowWidth": "-5"}, "at least 1"),
        ({"WindowCenter": "10", "WindowWidth": "0", "VOILUTFunction": "SIGMOID"}, "above 0"),
        ({"WindowCenter": "10", "WindowWidth": "5", "VOILUTFunction": "CUBIC"}, "VOILUTFunction"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "zero"),
        ({"RescaleSlope": "1"}, "RescaleIntercept"),
        ({"RescaleSlope": "1e300", "RescaleIntercept": "0"}, "beyond"),
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, "RescaleSlope"),
    ],
)
def test_a_pipeline_that_is_no_number_is_refused_by_name(elements: dict[str, str], word: str) -> None:
    dataset = film_dataset(ramp())
    for keyword, value in elements.items():
        dataset.add_new(keyword, "CS" if keyword == "VOILUTFunction" else "LO", value)
    with pytest.raises(UnprocessableContent, match=word):
        read(dataset)


@pytest.mark.parametrize(
    "table",
    [
        lut(0, CURVE[:0]),
        lut(0, CURVE, bits=0),
        lut(0, CURVE, bits=99),
    ],
)
def test_a_damaged_table_is_refused(table: Dataset) -> None:
    dataset = film_dataset(ramp())
    dataset.VOILUTSequence = Sequence([table])
    with pytest.raises(UnprocessableContent, match="VOILUTSequence"):
        read(dataset)


def test_a_table_without_data_is_refused() -> None:
    dataset = film_dataset(ramp())
    table = lut(0, CURVE)
    del table.LUTData
    dataset.VOILUTSequence = Sequence([table])
    with pytest.raises(UnprocessableContent, match="LUTData"):
        read(dataset)
    del table.LUTDescriptor
    with pytest.raises(UnprocessableContent, match="LUTDescriptor"):
        read(dataset)
