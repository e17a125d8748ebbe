"""Equal requests: those under way at the same time are computed once, and answers may be kept for those to come."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np

from shared.runtime.batching.items import Answer, Arrays, Item


class RequestCache:
    """What one batcher knows of its requests by the digest of their inputs.

    Args:
        coalesce: whether equal items that are under way are computed once.
        kept: how many answers are kept; 0 keeps none.
    """

    def __init__(self, *, coalesce: bool, kept: int) -> None:
        self._coalesce, self._most = coalesce, kept
        self._under_way: dict[bytes, Item] = {}
        self._kept: OrderedDict[bytes, Answer] = OrderedDict()

    def key(self, inputs: Arrays) -> bytes | None:
        """Digest of the inputs; None where nobody would look for it."""
        if not self._coalesce and not self._most:
            return None
        digest = hashlib.blake2b(digest_size=16)
        for name, array in inputs.items():
            digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()

    def kept(self, key: bytes | None) -> Answer | None:
        """The answer to an equal request that was computed before."""
        if key is None or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def under_way(self, key: bytes | None) -> Item | None:
        """An equal request that is to be computed anyway."""
        return self._under_way.get(key) if key is not None and self._coalesce else None

    def begin(self, item: Item) -> None:
        """An item is under way."""
        if item.key is not None:
            self._under_way[item.key] = item

    def end(self, item: Item) -> None:
        """It is not any more."""
        if item.key is not None and self._under_way.get(item.key) is item:
            del self._under_way[item.key]

    def keep(self, item: Item, answer: Answer) -> None:
        """Keep an answer, which nobody may write to from now on."""
        if item.key is None or not self._most:
            return
        for array in answer:
            array.flags.writeable = False
        self._kept[item.key] = answer
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
