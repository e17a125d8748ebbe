"""Making the released folders: from a run to a committed checkpoint, from there to ONNX file and card."""

from __future__ import annotations

from pathlib import Path

from services.medical.low_dose_ct.training import cards
from services.medical.low_dose_ct.training.export import MODELS, export_network, measure_latency, measure_parity
from services.medical.low_dose_ct.training.weights import (
    CHECKPOINTS,
    finished_weights,
    load_network,
    load_record,
    save_half,
)
from shared.runtime.models.releases import MODEL_FILE, weights_of, write_release

RELEASES = {
    cards.GAUSSIAN: ("gaussian", cards.gaussian_card),
    cards.LOW_DOSE_CT: ("chest-widened", cards.low_dose_card),
}
"""Released models: the committed checkpoint each is made of, and who writes its card."""


def keep(run: Path, name: str) -> Path:
    """Turn the end of a run into a committed half-precision checkpoint.

    Args:
        run: folder of a finished run.
        name: of the file in `CHECKPOINTS`, without suffix.
    """
    source = finished_weights(run)
    record = load_record(source)
    target = CHECKPOINTS / f"{name}.pt"
    save_half(load_network(source, record["width"]), record, target)
    return target


def release_folder(name: str) -> Path:
    """Where a released model lies."""
    return MODELS / name / cards.VERSIONS[name]


def release(name: str, *, checkpoint: Path | None = None, models: Path = MODELS) -> Path:
    """Export trained weights as a released model; the card of new weights has no quality until evaluated.

    Args:
        name: a key of `RELEASES`.
        checkpoint: checkpoint.pt of a finished run; by default the committed checkpoint of that model.
        models: folder of released models.
    """
    source, card = RELEASES[name]
    checkpoint = checkpoint or CHECKPOINTS / f"{source}.pt"
    record = load_record(checkpoint)
    network = load_network(checkpoint, record["width"])
    folder = models / name / cards.VERSIONS[name]
    file = folder / MODEL_FILE
    export_network(network, file)
    content = file.read_bytes()
    new = card(record, weights_of(content), measure_parity(network, file), measure_latency(file))
    write_release(folder, content, new)
    return folder
