"""What every answer of this capability says of itself."""

from __future__ import annotations

from typing import Final

SIMULATION: Final = (
    "Simulation only: a picture that was computed, no statement about a real vehicle, and nothing to be printed."
)
"""Header field `Facet-Notice` of files, field `notice` of JSON answers and reports. ASCII."""
