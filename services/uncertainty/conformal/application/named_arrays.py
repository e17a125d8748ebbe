"""The arrays that a use case reads, whatever they were sent in: the port that request parsing implements."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from numpy.typing import NDArray


class NamedArrays(Protocol):
    """Arrays by name. Problems point at `/body/NAME`."""

    def has(self, name: str) -> bool:
        """Whether there is an array of this name."""
        ...

    def refuse_others(self, names: Collection[str]) -> None:
        """Refuse arrays of other names, which nothing would look at.

        Raises:
            UnprocessableContent: names the first of them.
        """
        ...

    def read_numbers(self, name: str, *, dimensions: int | None = 1, count: int | None = None) -> NDArray[Any] | None:
        """Read an array of numbers.

        Args:
            name: of the array.
            dimensions: 1 or 2; None for 2 or more, where truth values will do.
            count: items that it should have, if that is known: a table whose first line may be names or numbers is
                then read as the one that fits.

        Returns:
            The array in its own numeric type, not checked for NaN; None if there is none of this name.

        Raises:
            UnsupportedMediaType: a file that is no table.
            ContentTooLarge: too many numbers.
            UnprocessableContent: not numbers, or another number of dimensions.
        """
        ...

    def require_numbers(self, name: str, *, dimensions: int | None = 1, count: int | None = None) -> NDArray[Any]:
        """Read an array of numbers; as `read_numbers`, and a missing one is an UnprocessableContent."""
        ...

    def read_texts(self, name: str, *, count: int | None = None) -> list[str] | None:
        """Read an array of labels, one text for each; None if there is none of this name. Count as above."""
        ...
