"""Keys to show to a gateway."""

from __future__ import annotations

from shared.access.keys import KeyStore, Limits


async def bearer(keys: KeyStore, *scopes: str, owner: str = "ada", **limits: int) -> dict[str, str]:
    """The header of a new key."""
    text, _ = await keys.create(owner, scopes, limits=Limits(**limits))
    return {"Authorization": f"Bearer {text}"}
