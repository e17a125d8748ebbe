"""How much of what callers send is held at once, in memory and on disk, by all requests together."""

from __future__ import annotations


class ByteBudget:
    """Counts bytes that are held; belongs to one event loop.

    Args:
        limit: most bytes at once.

    Attributes:
        used: bytes held now.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def reserve(self, size: int) -> bool:
        """Count `size` more bytes; False, and nothing counted, where they would be too many."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def release(self, size: int) -> None:
        """Count `size` bytes less."""
        self.used -= size
