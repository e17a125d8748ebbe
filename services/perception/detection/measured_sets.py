"""How many annotated pictures a job measures on at most, which holds for evaluations and for hold-outs alike."""

from __future__ import annotations

from services.perception.detection.annotations.importing import ImportedSet
from services.perception.detection.annotations.model import too_large
from services.perception.detection.settings import DetectionSettings


def require_measurable(imported: ImportedSet, *, pointer: str) -> None:
    """Check that a set is small enough to be measured on.

    Raises:
        ContentTooLarge: it has more pictures than the setting `pictures_limit`.
    """
    count, most = len(imported.annotated.pictures), DetectionSettings().pictures_limit
    if count > most:
        raise too_large(pointer, f"The archive has {count} annotated pictures; at most {most} are measured on.")
