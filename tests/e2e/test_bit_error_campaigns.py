"""Bit-error campaigns in the real fleet, on a model that somebody uploaded."""

from __future__ import annotations

import httpx
import numpy as np
from PIL import Image

from tests.support.archives import zipped
from tests.support.capability import png
from tests.support.classifiers import card_of, classifier, upload_form


def test_a_campaign_is_run_on_a_model_that_was_uploaded(client: httpx.Client) -> None:
    names = ["a", "b", "c", "d"]
    content = classifier(seed=11)
    card = card_of(content, name="own-memory", version="2.0.0", classes=names, mean=[0.5] * 3, std=[0.25] * 3)
    answer = client.post("/v1/models", files=upload_form(content, card), data={"domain": "perception"})
    assert answer.status_code in {200, 201}, answer.text
    drawn = np.random.default_rng(0).integers(0, 255, (8, 20, 20, 3), np.uint8)
    dataset = zipped(
        {f"{names[number % 4]}/{number}.png": png(Image.fromarray(one)) for number, one in enumerate(drawn)}
    )
    done = client.post(
        "/v1/security/bit-error-campaigns",
        files={"dataset": dataset},
        data={"model": "own-memory", "rates": "0.1", "seeds": "2", "analyses": "curve"},
        headers={"Prefer": "wait=60"},
    )
    assert done.status_code == 200, done.text
    report = done.json()["result"]["report"]
    assert report["model"] == {"name": "own-memory", "version": "2.0.0", "sha256": card["weights"]["sha256"]}
    assert (report["dataset"]["labels_by"], report["dataset"]["images"]) == ("class names", 8)
    assert report["memory"]["layers"] == 2
