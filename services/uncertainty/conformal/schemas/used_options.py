"""Options that belong to a choice, such as a score's parameters: given for another choice they would mean nothing.

What nothing looks at is refused rather than ignored, unless it has its default: forms and examples send every field.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ValidationInfo

STORED: Final[dict[str, Any]] = {"stored": True}
"""Context of the validation of options that were accepted before, perhaps by an earlier release: all are taken."""


def require_used(
    model: type[BaseModel], value: Any, info: ValidationInfo, *, choice: str, uses: Mapping[str, Collection[StrEnum]]
) -> Any:
    """Return the value of an option, if it has its default or belongs to what was chosen.

    Args:
        model: of the options; the choice is declared before all that belong to it.
        value: of the option.
        info: names the option, and holds the fields before it.
        choice: name of the field that chooses.
        uses: of each such option, the choices that look at it.

    Raises:
        ValueError: nothing would look at it.
    """
    name = str(info.field_name)
    chosen, default = info.data.get(choice), model.model_fields[name].get_default(call_default_factory=True)
    if chosen is None or chosen in uses[name] or value == default or info.context == STORED:
        return value
    raise ValueError(f"used with {choice} {' or '.join(sorted(uses[name]))} only, not with {chosen}: leave it out")
