"""What a model says of a film as DICOM: a parametric map, a segmentation or a report, each of which refers to the film.

All three are written by highdicom and hold, beside what they are for, the patient and study of the film and the UIDs
that refer to it, and no other element of it: they belong where the film belongs. `deidentified` leaves the patient and
the dates out (the UIDs, without which nothing would refer to anything, stay). highdicom is loaded with this module,
which is imported when the first DICOM answer is asked for.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import highdicom as hd
import numpy as np
from highdicom.sr import coding
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from services.medical.chest_xray.attention_facts import Region
from services.medical.chest_xray.film_references import in_own_plane, refer_to
from services.medical.chest_xray.films import Pixels
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.schemas import DicomKind
from shared.imaging.dicom_elements import put, writable_copy
from shared.imaging.dicom_parsing import quiet
from shared.problems import UnprocessableContent
from shared.runtime.cards import ModelReference

logging.getLogger("highdicom").setLevel(logging.CRITICAL)  # it names what it copies of a patient's film

_MAKER: Final = "Facet"
_SCHEME: Final = "99FACET"
_SERIES_NUMBERS: Final[dict[DicomKind, int]] = {"parametric-map": 9001, "segmentation": 9002, "report": 9003}
"""Far from what a modality numbers by itself."""

_LONGEST_LABEL: Final = 64
_LABELS: Final = {"normal": "normal film", "chf_like": "signs of congestive heart failure", "pneumonia": "pneumonia"}
"""Of the classes, in words. Private codes are the names of the fields in JSON, of 16 characters at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFindings:
    """What a report says.

    Attributes:
        probabilities: of CLASSES, in their order.
        opacity: probability of an opacity of the lung.
        screening: score of the screening, in [0, 1].
        caveats: what to know of it, in words.
    """

    probabilities: tuple[float, ...]
    opacity: float
    screening: float
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilmObjects:
    """Makes DICOM objects that refer to one film.

    Attributes:
        film: what they refer to: patient, study and UIDs of the posted file.
        model: that made their content.
        training_data: what it was trained on.
        notice: what whoever sees them must know.
    """

    film: Dataset
    model: ModelReference
    training_data: str
    notice: str

    @classmethod
    def of(
        cls,
        source: Dataset,
        shape: tuple[int, int],
        *,
        model: ModelReference,
        training_data: str,
        notice: str,
        deidentified: bool = False,
    ) -> FilmObjects:
        """Take over from a film what objects that refer to it need.

        Args:
            source: data set of the film, without its pixels.
            shape: rows and columns of it.
            model: that read it.
            training_data: what the model was trained on.
            notice: what whoever sees the objects must know.
            deidentified: leave patient, dates and numbers of the study out.

        Raises:
            NoReference: the film has no SOP Instance UID.
        """
        with quiet():
            film = refer_to(writable_copy(source), shape, deidentified=deidentified)
        return cls(film, model, training_data, notice)

    def parametric_map(self, density: Pixels) -> bytes:
        """Predicted attention as a Parametric Map (PS3.3 A.75) in float32, in the film's grid.

        Args:
            density: float32 (rows, columns) of the film, sums to 1. Values are stored as multiples of an even density,
                so that the map can be windowed alike for films of all sizes.

        Raises:
            UnprocessableContent: what the film says of patient or study cannot be written.
        """
        return _guarded(lambda: self._make_map(density))

    def segmentation(self, region: Region) -> bytes:
        """The region that holds a share of the attention as a Segmentation (PS3.3 A.51), one bit for each pixel.

        Raises:
            UnprocessableContent: what the film says of patient or study cannot be written.
        """
        return _guarded(lambda: self._make_segmentation(region))

    def report(self, findings: ReportedFindings) -> bytes:
        """Probabilities as a measurement report (PS3.16 TID 1500) in an Enhanced SR, complete and unverified.

        Raises:
            UnprocessableContent: what the film says of patient or study cannot be written.
        """
        return _guarded(lambda: self._make_report(findings))

    def _make_map(self, density: Pixels) -> bytes:
        relative = np.asarray(density * np.float32(density.size), np.float32)
        highest = float(relative.max())
        unit = coding.CodedConcept("1", "UCUM", "no units")
        mapping = hd.pm.RealWorldValueMapping(
            lut_label="ATTENTION",
            lut_explanation="Predicted attention, multiples of an even density",
            unit=unit,
            value_range=(0.0, highest),
            slope=1.0,
            intercept=0.0,
            quantity_definition=coding.CodedConcept("attention", _SCHEME, "Predicted visual attention"),
        )
        made = hd.pm.ParametricMap(
            [in_own_plane(self.film)],
            relative,
            real_world_value_mappings=[mapping],
            contains_recognizable_visual_features=False,
            voi_lut_transformations=[
                hd.VOILUTTransformation(window_center=highest / 2, window_width=max(highest, 1.0))
            ],
            content_label="ATTENTION",
            content_description="Predicted attention, not measured gaze",
            **self._origin("parametric-map"),
        )
        put(made, Laterality="")  # of type 2C where there is a frame of reference: nothing is known of it
        return self._finish(made, "Predicted attention")

    def _make_segmentation(self, region: Region) -> bytes:
        share = f"{region.share:.0%} of predicted attention"
        description = hd.seg.SegmentDescription(
            segment_number=1,
            segment_label=share,
            segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
            segmented_property_type=coding.CodedConcept("attention-region", _SCHEME, "Region of predicted attention"),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=self._algorithm(),
            tracking_uid=str(generate_uid(prefix=None)),
            tracking_id="predicted attention",
        )
        made = hd.seg.Segmentation(
            [self.film],
            region.mask[None],
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[description],
            content_label="ATTENTION",
            content_description="Predicted attention, not measured gaze",
            **self._origin("segmentation"),
        )
        return self._finish(made, "Region of predicted attention")

    def _make_report(self, findings: ReportedFindings) -> bytes:
        film = self.film
        group = hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(uid=str(generate_uid(prefix=None)), identifier="Chest film"),
            finding_type=coding.CodedConcept("film-reading", _SCHEME, "Reading of a chest film by a model"),
            algorithm_id=hd.sr.AlgorithmIdentification(
                name=self.model.name, version=self.model.version, parameters=self._parameters(findings)
            ),
            measurements=_measurements(findings),
            source_images=[hd.sr.SourceImageForMeasurementGroup(film.SOPClassUID, film.SOPInstanceUID)],
        )
        device = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=str(generate_uid(prefix=None, entropy_srcs=[self.model.weights_sha256])),
            name=_MAKER,
            manufacturer_name=_MAKER,
            model_name=self.model.name,
            serial_number=self.model.weights_sha256[:16],
        )
        context = hd.sr.ObserverContext(codes.DCM.Device, device)
        content = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(observer_device_context=context),
            procedure_reported=coding.CodedConcept("399208008", "SCT", "Plain chest X-ray"),
            imaging_measurements=[group],
            title=codes.DCM.ImagingMeasurementReport,
        )
        origin = self._origin("report")
        numbers = {name: origin[name] for name in ("series_instance_uid", "series_number", "sop_instance_uid")}
        made = hd.sr.EnhancedSR([film], content[0], instance_number=1, manufacturer=_MAKER, is_complete=True, **numbers)
        return self._finish(made, "Reading of a chest film by a model")

    def _parameters(self, findings: ReportedFindings) -> list[str]:
        """Texts of the report: what the model is, and what to know of what it says."""
        return [
            f"weights sha256: {self.model.weights_sha256}",
            f"training data: {self.training_data}",
            self.notice,
            *findings.caveats,
        ]

    def _algorithm(self) -> Any:
        return hd.AlgorithmIdentificationSequence(
            name=self.model.name,
            family=codes.DCM.ArtificialIntelligence,
            version=self.model.version,
            source=_MAKER,
            parameters={"weights_sha256": self.model.weights_sha256},
        )

    def _origin(self, kind: DicomKind) -> dict[str, Any]:
        return {
            "series_instance_uid": str(generate_uid(prefix=None)),
            "series_number": _SERIES_NUMBERS[kind],
            "sop_instance_uid": str(generate_uid(prefix=None)),
            "instance_number": 1,
            "manufacturer": _MAKER,
            "manufacturer_model_name": self.model.name[:_LONGEST_LABEL],
            "software_versions": self.model.version,
            "device_serial_number": self.model.weights_sha256[:16],
        }

    def _finish(self, made: Dataset, description: str) -> bytes:
        """Say what all of them say, and write the file."""
        put(made, SeriesDescription=description[:_LONGEST_LABEL])
        if "PatientIdentityRemoved" in self.film:
            put(made, PatientIdentityRemoved="YES", DeidentificationMethod=self.film.DeidentificationMethod)
        if made.Modality != "SR":
            put(made, ImageComments=self.notice, PatientOrientation=self.film.PatientOrientation)
        stream = io.BytesIO()
        made.save_as(stream, enforce_file_format=True)
        return stream.getvalue()


def _guarded(make: Callable[[], bytes]) -> bytes:
    """Make an object without warnings, which would name what they warn of; whatever goes wrong is the film's fault."""
    try:
        with quiet():
            return make()
    except Exception:  # whatever the elements of a stranger's file provoke
        detail = (
            "What the DICOM file says of patient and study cannot be written again. Send `deidentified=true`, which "
            "leaves it out, or ask for image/png, application/x-npy or application/json."
        )
        raise UnprocessableContent(detail) from None


def _measurements(findings: ReportedFindings) -> list[Any]:
    """A probability for each class, that of an opacity, and the score of the screening."""
    named = [
        (name, f"Probability of {_LABELS[name]}", value)
        for name, value in zip(CLASSES, findings.probabilities, strict=True)
    ]
    named += [
        ("opacity", "Probability of an opacity of the lung", findings.opacity),
        ("screening", "Score of a frontal chest film", findings.screening),
    ]
    unit = coding.CodedConcept("1", "UCUM", "no units")
    return [
        hd.sr.Measurement(name=coding.CodedConcept(code, _SCHEME, meaning), value=value, unit=unit)
        for code, meaning, value in named
    ]
