"""DICOM objects that refer to a film: read back by pydicom and highdicom, and found valid by dciodvfy."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from services.medical.chest_xray.attention_facts import region_of
from services.medical.chest_xray.dicom_writing import FilmObjects, ReportedFindings
from services.medical.chest_xray.film_reading import read_film
from services.medical.chest_xray.film_references import NoReference
from shared.runtime.cards import ModelReference
from tests.unit.services.medical.chest_xray.conftest import PIXEL_LIMIT, SECRET, as_file, film_dataset, ramp

DCIODVFY = shutil.which("dciodvfy")
MODEL = ModelReference(name="chest-xray-attention", version="1.2.3", weights_sha256="ab" * 32)
NOTICE = "Research use only, not a medical device."
FINDINGS = ReportedFindings(probabilities=(0.125, 0.25, 0.625), opacity=0.75, screening=0.875, caveats=("Be careful.",))
ROWS, COLUMNS = 96, 80


def source(**elements: object) -> Dataset:
    return film_dataset(ramp(ROWS, COLUMNS), **elements)


def objects_of(dataset: Dataset, *, deidentified: bool = False) -> FilmObjects:
    film = read_film(as_file(dataset), pixel_limit=PIXEL_LIMIT)
    assert film.source is not None
    return FilmObjects.of(
        film.source,
        film.shape,
        model=MODEL,
        training_data="films of nobody",
        notice=NOTICE,
        deidentified=deidentified,
    )


def density() -> NDArray[np.float32]:
    rows, columns = np.indices((ROWS, COLUMNS))
    bell = np.exp(-((rows - 30) ** 2 + (columns - 55) ** 2) / (2 * 9.0**2))
    return np.asarray(bell / bell.sum(), np.float32)


KINDS: dict[str, Callable[[FilmObjects], bytes]] = {
    "parametric-map": lambda objects: objects.parametric_map(density()),
    "segmentation": lambda objects: objects.segmentation(region_of(density(), 0.5)),
    "report": lambda objects: objects.report(FINDINGS),
}


def measurements(data: bytes) -> dict[str, float]:
    """What a report states, by the values of its codes, as highdicom reads it."""
    content = hd.sr.srread(io.BytesIO(data)).content
    assert isinstance(content, hd.sr.MeasurementReport)
    (group,) = content.get_image_measurement_groups()
    return {one.name.value: one.value for one in group.get_measurements()}


def errors(data: bytes, folder: Path) -> list[str]:
    file = folder / "object.dcm"
    file.write_bytes(data)
    done = subprocess.run([str(DCIODVFY), str(file)], capture_output=True, check=False, timeout=60)
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    return [line for line in lines if "Error - " in line]


SOURCES: dict[str, dict[str, object]] = {
    "a computed radiograph": {},
    "without what may be missing": dict.fromkeys(
        ("PatientName", "PatientSex", "StudyDate", "StudyID", "AccessionNumber", "PatientOrientation", "ViewPosition")
    ),
    "with a spacing and a zone": {"PixelSpacing": ["0.143", "0.143"], "TimezoneOffsetFromUTC": "+0100"},
    "of another alphabet": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Яковлев^Иван"},
    "compressed with loss": {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "10",
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
}


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian's package dicom3tools) is not installed")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elements", SOURCES.values(), ids=SOURCES)
def test_dciodvfy_finds_no_error(kind: str, elements: dict[str, object], tmp_path: Path) -> None:
    for deidentified in (False, True):
        made = KINDS[kind](objects_of(source(**elements), deidentified=deidentified))
        assert errors(made, tmp_path) == []


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian's package dicom3tools) is not installed")
def test_dciodvfy_finds_an_error_where_there_is_one(tmp_path: Path) -> None:
    broken = pydicom.dcmread(io.BytesIO(KINDS["segmentation"](objects_of(source()))))
    del broken.SegmentSequence
    assert errors(as_file(broken), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_each_object_refers_to_the_film_and_has_uids_of_its_own(kind: str) -> None:
    film = source()
    one, other = (pydicom.dcmread(io.BytesIO(KINDS[kind](objects_of(film)))) for _ in range(2))
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({str(each[keyword].value) for each in (film, one, other)}) == 3
    assert one.StudyInstanceUID == film.StudyInstanceUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    referred = re.findall(r"Referenced SOP Instance UID\s+UI: (\S+)", str(one))
    assert referred
    assert set(referred) == {film.SOPInstanceUID}
    assert (one.PatientName, one.PatientID) == (film.PatientName, film.PatientID)


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_of_the_patient_is_taken_over_than_what_the_object_belongs_to(kind: str) -> None:
    elements = dict.fromkeys(
        ("StudyDescription", "SeriesDescription", "PatientComments", "PatientAddress", "InstitutionName", "Occupation"),
        SECRET,
    )
    made = KINDS[kind](objects_of(source(**elements, PatientName="Known^Name")))
    assert SECRET.encode() not in made
    assert b"Known^Name" in made


@pytest.mark.parametrize("kind", KINDS)
def test_deidentified_objects_have_nothing_of_the_patient(kind: str) -> None:
    film = source(
        PatientName=SECRET,
        PatientID="SECRET-17",
        PatientBirthDate="19470108",
        PatientSex="F",
        StudyDate="20010203",
        AccessionNumber="ACC-SECRET",
        ReferringPhysicianName="Secret^Doctor",
        StudyID="S-77",
    )
    data = KINDS[kind](objects_of(film, deidentified=True))
    for secret in (SECRET, "SECRET-17", "19470108", "20010203", "ACC-SECRET", "Secret^Doctor", "S-77"):
        assert secret.encode() not in data
    made = pydicom.dcmread(io.BytesIO(data))
    assert made.PatientIdentityRemoved == "YES"
    assert made.StudyInstanceUID == film.StudyInstanceUID
    assert SECRET.encode() in KINDS[kind](objects_of(film))


def test_a_parametric_map_holds_the_density_in_the_films_grid() -> None:
    made = pydicom.dcmread(io.BytesIO(KINDS["parametric-map"](objects_of(source()))))
    read = hd.pm.ParametricMap.from_dataset(made) if hasattr(hd.pm.ParametricMap, "from_dataset") else None
    stored = np.frombuffer(made.FloatPixelData, "<f4").reshape(made.Rows, made.Columns)
    assert stored.shape == (ROWS, COLUMNS)
    assert np.array_equal(stored, density() * np.float32(ROWS * COLUMNS))
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert made.ContentDescription == "Predicted attention, not measured gaze"
    assert NOTICE in made.ImageComments
    if read is not None:
        assert np.array_equal(np.squeeze(read.pixel_array), stored)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_segmentation_holds_the_region(share: float) -> None:
    region = region_of(density(), share)
    made = objects_of(source()).segmentation(region)
    read = hd.seg.segread(io.BytesIO(made))
    assert np.array_equal(np.squeeze(read.pixel_array).astype(bool), region.mask)
    description = read.get_segment_description(1)
    assert description.segment_label == f"{region.share:.0%} of predicted attention"
    algorithm = description.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (MODEL.name, MODEL.version)


def test_a_report_states_probabilities_model_and_what_it_was_trained_on() -> None:
    data = KINDS["report"](objects_of(source()))
    made = hd.sr.srread(io.BytesIO(data))
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert measurements(data) == {
        "normal": 0.125,
        "chf_like": 0.25,
        "pneumonia": 0.625,
        "opacity": 0.75,
        "screening": 0.875,
    }
    for said in (MODEL.name, MODEL.version, MODEL.weights_sha256, "films of nobody", NOTICE, "Be careful."):
        assert said.encode() in data
    assert (made.CompletionFlag, made.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_a_film_without_a_uid_cannot_be_referred_to() -> None:
    film = read_film(as_file(source()), pixel_limit=PIXEL_LIMIT)
    assert film.source is not None
    del film.source.SOPInstanceUID
    with pytest.raises(NoReference, match="0008,0018"):
        FilmObjects.of(film.source, film.shape, model=MODEL, training_data="", notice=NOTICE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_whose_elements_are_damaged_costs_no_answer(kind: str) -> None:
    dataset = source()
    dataset.add_new("StudyTime", "TM", "not a time")
    dataset.add_new("PatientBirthDate", "DA", "yesterday")
    dataset.add_new("StudyID", "SH", "x" * 200)
    assert KINDS[kind](objects_of(dataset))
