"""Items of a classifier: the arrays that calibrations and predictions read of them, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.class_labels import (
    ClassLabels,
    convert_whole_numbers,
    read_class_names,
    read_labels,
)
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import (
    check_count,
    check_scores,
    check_weights,
)
from services.uncertainty.conformal.methods.classification.taxonomies import Groups
from services.uncertainty.conformal.methods.scores import Inputs, Values
from shared.problems import field_problem

ARRAYS: Final[Mapping[str, str]] = {
    "logits": "Logits (N, K), of which the softmax is taken; post probabilities under their own name",
    "probabilities": "Probabilities (N, K), rows adding up to 1",
    "labels": "True classes (N,): 0 to K - 1, or names of class_names; of knn those that training has",
    "class_names": "Names of the classes (K,) in the order of the columns; sets then hold names too",
    "groups": "A group of each item (N,), whole numbers or texts: the guarantee holds in each; of classes with the "
    "method group",
    "weights": "method weighted: a weight of each item (N,), 0 or more: under covariate shift",
    "features": "score knn: features (N, F), in place of logits",
    "training_features": "score knn: features (T, F) of training items that do not calibrate",
    "training_labels": "score knn: their classes (T,), whole numbers or names",
}


@dataclass(frozen=True, kw_only=True)
class Items:
    """Checked arrays of a classifier's items.

    Attributes:
        name: which inputs: logits, probabilities or features.
        inputs: (N, K) or (N, F).
        labels: (N,), None where they are not known.
        groups: (N,), None where there are none.
        weights: (N,), None where there are none.
        contents: what the items are where the inputs are a model's answers: N encoded images.
        called: what the classes are called, None for 0 to K - 1.
    """

    name: str
    inputs: Inputs
    labels: NDArray[np.int64] | None = None
    groups: Groups | None = None
    weights: Values | None = None
    contents: Sequence[bytes] | None = None
    called: ClassLabels | None = None


def read_items(
    source: NamedArrays, name: str | None, *, classes: int | None, labelled: bool, called: ClassLabels | None = None
) -> Items:
    """Read and check the arrays of a classifier's items.

    Args:
        source: of the arrays.
        name: which inputs have to be there; logits or probabilities, whichever is, where None.
        classes: K, the width of the inputs where None.
        labelled: labels have to be there.
        called: what the classes are called, by which labels are looked up; the posted class_names where None.
    """
    name = name or _choose_inputs(source)
    array = source.require_numbers(name, dimensions=2)
    pointer = f"/body/{name}"
    if name == "features":
        inputs = check_scores(np.atleast_2d(array), pointer, probabilities=False) if array.shape[1] > 1 else array
    else:
        inputs = check_scores(array, pointer, probabilities=name == "probabilities")
    count, width = len(inputs), classes or inputs.shape[1]
    if called is None:
        called = read_class_names(source, classes=width)
    wanted = labelled or source.has("labels")
    labels = read_labels(source, count=count, classes=width, called=called) if wanted else None
    weights = source.read_numbers("weights", count=count)
    return Items(
        name=name,
        inputs=inputs.astype(np.float64) if inputs.dtype.kind != "f" else inputs,
        labels=labels,
        groups=_read_groups(source, count),
        weights=None if weights is None else check_weights(weights, "/body/weights", count=count),
        called=called,
    )


def _read_groups(source: NamedArrays, count: int) -> Groups | None:
    """Read a group of each item, (count,): numbers where all are whole, otherwise texts; None if there are none."""
    texts = source.read_texts("groups", count=count)
    if texts is None:
        return None
    check_count(np.empty(len(texts)), "/body/groups", count)
    if "" in texts:
        raise field_problem("/body/groups", "A group's label must not be empty.")
    numbers = convert_whole_numbers(texts)
    return np.array(texts, np.str_) if numbers is None else numbers


def name_arrays(items: Items) -> dict[str, NDArray[Any]]:
    """List the arrays of items by name."""
    arrays = {items.name: items.inputs, "labels": items.labels, "groups": items.groups, "weights": items.weights}
    return {name: array for name, array in arrays.items() if array is not None}


def _choose_inputs(source: NamedArrays) -> str:
    present = [name for name in ("logits", "probabilities") if source.has(name)]
    if len(present) != 1:
        raise field_problem("/body/logits", "Logits or probabilities are needed, one of the two.")
    return present[0]
