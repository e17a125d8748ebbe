"""A fixed load on the routes of every capability: pictures, tensors, CT, explanations, calibrations and jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from services.medical.chest_xray.demo import chest_film
from services.medical.low_dose_ct.demo import demo_files as ct_files
from services.perception.captioning.demo import meadow
from services.perception.classification.demo import sign_tensor, stop_sign
from services.perception.detection.demo import annotated_streets, street
from services.security.caption_attack.demo import scene
from services.uncertainty.conformal.demo import demo_files as conformal_files
from services.uncertainty.explanation.methods import Method

CONNECTIONS = 8
"""Requests at a time."""

_TIMEOUT_S = 120

_Request = tuple[str, dict[str, Any]]
"""Path, and what httpx is to post."""


def apply_load(url: str, *, rounds: int) -> None:
    """Send every kind of request `rounds` times, several at a time, and whatever makes a job once.

    Raises:
        HTTPStatusError: a request was refused.
    """
    signs, ct, drawn = stop_sign(), ct_files(), conformal_files()
    with httpx.Client(base_url=url, trust_env=False, timeout=_TIMEOUT_S) as client:
        requests = list(_requests(signs, ct, drawn))
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda request: _send(client, *request), requests * rounds))
        wait = {"Prefer": "wait=60"}
        series = [("file", ct["low-dose.dcm"]), ("file", ct["normal-dose.dcm"])]
        _send(client, "/v1/medical/ct/enhancements", {"files": series, "headers": wait})
        pictures = {"model": "traffic-signs", "score": "aps"}
        archive = {"file": drawn["signs.zip"]}
        _send(client, "/v1/uncertainty/calibrations", {"files": archive, "data": pictures, "headers": wait})
        streets = {"file": annotated_streets()}
        mapping = {"class_mapping": '{"car": "vehicle"}'}
        _send(client, "/v1/perception/detections/evaluations", {"files": streets, "data": mapping, "headers": wait})
        attack = {"queries": "60", "arms": "A,N"}
        _send(client, "/v1/security/caption-attacks", {"files": {"file": scene()}, "data": attack, "headers": wait})


def _requests(sign: bytes, ct: dict[str, bytes], drawn: dict[str, bytes]) -> list[_Request]:
    tensor = {"content": sign_tensor(), "headers": {"Content-Type": "application/json"}}
    numbers = {"logits": drawn["logits.npy"], "labels": drawn["labels.npy"]}
    methods = {"method": [method.value for method in Method]}
    unprotected = {"model": "traffic-signs", "generator": "none"}
    classify: _Request = ("/v1/perception/classifications", {"files": {"file": sign}})
    infer: _Request = ("/v2/models/traffic-signs/infer", tensor)
    return [
        *((classify, infer) * 8),
        ("/v1/medical/ct/reconstructions", {"files": {"file": ct["low-dose-sinogram.npy"]}}),
        ("/v1/medical/ct/enhancements", {"files": {"file": ct["low-dose.dcm"]}}),
        ("/v1/medical/ct/simulations", {"files": {"file": ct["normal-dose.npy"]}, "data": {"photons": "1000"}}),
        ("/v1/medical/chest-xray/diagnoses", {"files": {"file": chest_film()}, "data": {"screen": "false"}}),
        ("/v1/uncertainty/explanations", {"files": {"file": sign}, "data": methods}),
        ("/v1/perception/captions", {"files": {"file": meadow()}, "data": {"attention": "png"}}),
        ("/v1/perception/detections", {"files": {"file": street()}}),
        ("/v1/perception/detections", {"files": {"file": street()}, "data": {"model": "nanodet"}}),
        ("/v1/security/camouflages/renders", {"data": {"car": "sedan"}}),
        ("/v1/security/neuralfuse/predictions", {"files": {"file": sign}, "data": unprotected}),
        ("/v1/uncertainty/calibrations", {"files": numbers, "data": {"score": "raps", "alpha": "0.1"}}),
    ]


def _send(client: httpx.Client, path: str, parts: dict[str, Any]) -> None:
    client.post(path, **parts).raise_for_status()
