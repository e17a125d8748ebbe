"""Inputs to run a model with for the first time: zeros and empty texts, or what its card gives as examples.

`parameters.warm_up` of a card names sizes of axes, and under `inputs` a value for each input that cannot be zero:
`{"height": 48, "inputs": {"divisor": 1, "colour": [["red"]]}}`. A single value fills its tensor; a list is the tensor.
Read without Pydantic, as the process that tries models loads little, and without NumPy where no arrays are made, as the
gateway only wants to know whether a card is right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LARGEST_SIZE: Final = 4096
"""Of an axis."""

MOST_ELEMENTS: Final = 65_536
"""Of an example."""

LONGEST_TEXT: Final = 4096
"""Characters of one."""

_EXAMPLES: Final = "inputs"


class WarmUpFault(ValueError):
    """Something in `parameters.warm_up` that is no size and no value of an input.

    Args:
        place: JSON pointer within `parameters.warm_up`; empty for all of it.
        detail: what is wrong.
    """

    def __init__(self, place: str, detail: str) -> None:
        super().__init__(detail)
        self.place, self.detail = place, detail


@dataclass(frozen=True, slots=True)
class InputShape:
    """An input as a card describes it: its name, its dtype, and sizes or names of its axes."""

    name: str
    dtype: str
    shape: Sequence[int | str]


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a card says of its first run.

    Attributes:
        sizes: by name of an axis.
        examples: by name of an input, as JSON gives them.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, parameters: Mapping[str, Any]) -> WarmUp:
        """What the parameters of a card say.

        Raises:
            WarmUpFault: a size is none, or the examples are no object.
        """
        said = parameters.get("warm_up", {})
        if not isinstance(said, dict):
            raise WarmUpFault("", "This must name sizes of axes, and under inputs examples of values.")
        examples = said.get(_EXAMPLES, {})
        if not isinstance(examples, dict):
            raise WarmUpFault(f"/{_EXAMPLES}", "This must give values by name of an input.")
        sizes = {name: size for name, size in said.items() if name != _EXAMPLES}
        for name, size in sizes.items():
            if type(size) is not int or not 0 < size <= LARGEST_SIZE:
                raise WarmUpFault(f"/{name}", f"A size is a whole number from 1 to {LARGEST_SIZE}.")
        return cls(sizes, examples)

    def arrays(self, inputs: Sequence[InputShape], *, size: int = 64) -> dict[str, Array]:
        """Arrays by name of the input. Axes of one name have one size, that of the examples where they say it.

        Args:
            inputs: of the model.
            size: for named axes of which nothing is said; `batch` is 1.

        Raises:
            WarmUpFault: an example is not one of its input.
        """
        if unknown := self.examples.keys() - {one.name for one in inputs}:
            raise WarmUpFault(f"/{_EXAMPLES}/{min(unknown)}", "The model has no such input.")
        given = {one.name: _example(self.examples[one.name], one) for one in inputs if one.name in self.examples}
        sizes = {"batch": 1, **self.sizes}
        for one in inputs:
            if isinstance(self.examples.get(one.name), list):
                _learn_sizes(sizes, one, given[one.name].shape)
        return {one.name: _filled(one, given.get(one.name), size, sizes) for one in inputs}


def _learn_sizes(sizes: dict[str, int], described: InputShape, found: tuple[int, ...]) -> None:
    place = f"/{_EXAMPLES}/{described.name}"
    fits = len(found) == len(described.shape) and all(
        isinstance(said, str) or said == size for said, size in zip(described.shape, found, strict=True)
    )
    if not fits:
        raise WarmUpFault(place, f"Its shape is {list(found)}; the input has {list(described.shape)}.")
    sizes |= {said: size for said, size in zip(described.shape, found, strict=True) if isinstance(said, str)}


def _filled(described: InputShape, example: Array | None, size: int, sizes: Mapping[str, int]) -> Array:
    import numpy as np

    sides = [side if isinstance(side, int) else sizes.get(side, size) for side in described.shape]
    if example is not None and example.ndim:
        if list(example.shape) != sides:
            detail = "Its axes have other sizes than those of the same name in another example."
            raise WarmUpFault(f"/{_EXAMPLES}/{described.name}", detail)
        return example
    if example is not None:
        return np.full(sides, example[()], example.dtype)
    return np.full(sides, "", dtype=object) if described.dtype == "string" else np.zeros(sides, described.dtype)


def _example(value: Any, described: InputShape) -> Array:
    """The value as an array; one without axes is to fill the tensor."""
    import numpy as np

    place, found = f"/{_EXAMPLES}/{described.name}", np.array(value, dtype=object)
    if not 0 < found.size <= MOST_ELEMENTS:
        raise WarmUpFault(place, f"An example has 1 to {MOST_ELEMENTS} elements.")
    if not all(_is_element(element, described.dtype) for element in found.flat):
        raise WarmUpFault(place, f"Elements of {described.dtype} are wanted, in lists of one length.")
    return found if described.dtype == "string" else found.astype(described.dtype)


def _is_element(element: object, dtype: str) -> bool:
    import numpy as np

    if dtype == "string":
        return isinstance(element, str) and len(element) <= LONGEST_TEXT
    if dtype == "bool" or isinstance(element, bool):
        return dtype == "bool" and isinstance(element, bool)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return isinstance(element, int) and limits.min <= element <= limits.max
    return isinstance(element, int | float) and math.isfinite(element) and abs(element) <= float(np.finfo(dtype).max)
