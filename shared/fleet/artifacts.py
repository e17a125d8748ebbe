"""Models of the fleet as files: released ones out of their folders, uploaded ones out of the blob store."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anyio.to_thread
from pydantic import ValidationError

from shared.deployments.desired_state import DesiredState
from shared.deployments.store import DesiredStateStore
from shared.jobs.connection import api_client
from shared.problems import NotFound, ServiceUnavailable
from shared.runtime.cards import CARD_FILE, DigestMismatch, ModelCard, UploadedCard, read_card, read_weights
from shared.runtime.models.version_routing import DEFAULT_ALIAS, by_number, resolve
from shared.settings import DOMAINS, Domain, Settings
from shared.storage.blobs import BlobCorrupted, BlobMissing, BlobStore

logger = logging.getLogger(__name__)

ReleasedFolders = Mapping[Domain, Sequence[Path]]
"""Folders `<name>/<version>/` of released models, by the domain that serves them."""


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """A version of a model.

    Attributes:
        card: of it.
        domain: of the service that has it.
        folder: where it was released; None for an uploaded one.
        blobs: where an uploaded one is.
    """

    card: UploadedCard
    domain: Domain
    folder: Path | None
    blobs: BlobStore

    @property
    def released(self) -> bool:
        """Whether it came with the code or the operator's folder; what was uploaded is to be trusted in nothing."""
        return self.folder is not None

    @property
    def sha256(self) -> str:
        """Digest of its file."""
        return self.card.weights.sha256

    def read(self) -> bytes:
        """The ONNX file, compared with its digest. Blocks.

        Raises:
            DigestMismatch: a released file is not the one of its card.
            ServiceUnavailable: an uploaded file is missing, damaged, or the store does not answer.
        """
        if self.folder is not None and isinstance(self.card, ModelCard):
            return read_weights(self.folder, self.card)
        try:
            content = self.blobs.get(f"sha256:{self.sha256}")
        except (BlobMissing, BlobCorrupted, OSError) as error:
            detail = f"The file of {self.card.name} {self.card.version} cannot be read: {type(error).__name__}."
            raise ServiceUnavailable(detail, retry_after_s=5) from None
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DigestMismatch(f"{self.card.name} {self.card.version}: the stored file has another sha256")
        return content


class ModelArtifacts:
    """Finds models by name and version, as services find them for requests: without uploads that their service refused.

    Args:
        folders: of released models.
        plans: says what was uploaded, and which version is the default.
        blobs: where uploaded models are.
        fresh_s: seconds for which what plans say is believed; a name that is not found is looked for at once.
    """

    def __init__(
        self, folders: ReleasedFolders, plans: DesiredStateStore, blobs: BlobStore, *, fresh_s: float = 0.5
    ) -> None:
        self._folders, self._plans, self._blobs, self._fresh_s = folders, plans, blobs, fresh_s
        self._known: Mapping[Domain, DesiredState] = {}
        self._failed: frozenset[tuple[Domain, str, str]] = frozenset()
        self._read_s = float("-inf")
        self._silent = False
        self._reading = asyncio.Lock()

    @cached_property
    def released(self) -> tuple[ModelArtifact, ...]:
        """All released models. Blocks the first time."""
        return tuple(
            ModelArtifact(card, domain, path.parent, self._blobs)
            for domain, folders in self._folders.items()
            for folder in folders
            for path in sorted(folder.glob(f"*/*/{CARD_FILE}"))
            if (card := _readable_card(path.parent)) is not None
        )

    async def find(self, name: str, version: str | None = None) -> ModelArtifact:
        """A model by its name.

        Args:
            name: of the model.
            version: a version, the beginning of one or an alias; the default unless given.

        Raises:
            NotFound: there is none.
            ServiceUnavailable: none is known, and nobody can say which models were uploaded.
        """
        await self._refresh()
        found = await self._chosen(name, version)
        if found is None:
            await self._refresh(now=True)
            found = await self._chosen(name, version)
        if found is not None:
            return found
        if self._silent:
            raise ServiceUnavailable(
                f"Whether there is a model {name} cannot be said: the list of uploaded models cannot be read.",
                retry_after_s=5,
            )
        raise NotFound(f"There is no model {name}{f' {version}' if version else ''}. GET /v1/models lists them.")

    async def uploaded(self) -> list[ModelArtifact]:
        """All uploaded models that are to be served, as far as is known."""
        await self._refresh()
        released = {(one.card.name, one.card.version) for one in await self._all_released()}
        return [one for domain in DOMAINS for one in self._uploaded(domain) if _key(one) not in released]

    async def _all_released(self) -> tuple[ModelArtifact, ...]:
        return await anyio.to_thread.run_sync(lambda: self.released)

    def _uploaded(self, domain: Domain) -> list[ModelArtifact]:
        plan = self._known.get(domain, DesiredState())
        return [
            ModelArtifact(one.card, domain, None, self._blobs)
            for key, one in plan.deployments.items()
            if one.loaded and (domain, *key) not in self._failed
        ]

    async def _chosen(self, name: str, version: str | None) -> ModelArtifact | None:
        """What the services of the domains would choose, one after the other."""
        released = await self._all_released()
        for domain in DOMAINS:
            # What was released goes before an upload of the same version.
            both = (*self._uploaded(domain), *(one for one in released if one.domain == domain))
            found = _choose(both, name, version, self._known.get(domain, DesiredState()).aliases.get(name, {}))
            if found is not None:
                return found
        return None

    async def _refresh(self, *, now: bool = False) -> None:
        """Ask for the plans, unless they are fresh; where Redis does not answer, what was known stays."""
        asked_s = time.monotonic()
        async with self._reading:
            if self._read_s >= (asked_s if now else asked_s - self._fresh_s):
                return
            try:
                await self._read_plans()
            except ServiceUnavailable:
                self._silent = True
            self._read_s = time.monotonic()

    async def _read_plans(self) -> None:
        plans = await asyncio.gather(*(self._plans.read(domain) for domain in DOMAINS))
        reports = await asyncio.gather(*(self._plans.reports(domain) for domain in DOMAINS))
        self._known, self._silent = dict(zip(DOMAINS, plans, strict=True)), False
        self._failed = frozenset(
            (domain, *key)
            for domain, replicas in zip(DOMAINS, reports, strict=True)
            for report in replicas
            for key, version in report.versions.items()
            if version.state == "failed"
        )


def model_artifact(
    settings: Settings, folders: ReleasedFolders, name: str, version: str | None = None
) -> ModelArtifact:
    """A model by its name, for jobs: blocks. See `ModelArtifacts.find`."""

    async def find() -> ModelArtifact:
        redis = api_client(settings.redis_url)
        try:
            return await ModelArtifacts(folders, DesiredStateStore(redis), BlobStore(settings.blob_url)).find(
                name, version
            )
        finally:
            await redis.aclose()

    return asyncio.run(find())


def _choose(
    artifacts: Iterable[ModelArtifact], name: str, version: str | None, aliases: Mapping[str, str]
) -> ModelArtifact | None:
    versions = {one.card.version: one for one in artifacts if one.card.name == name}
    if version is not None:
        return versions.get(resolve(version, versions, aliases) or "")
    newest = max(versions, key=by_number, default="")
    return versions.get(aliases.get(DEFAULT_ALIAS, newest))


def _key(artifact: ModelArtifact) -> tuple[str, str]:
    return artifact.card.name, artifact.card.version


def _readable_card(folder: Path) -> ModelCard | None:
    """The card of a folder; a broken one is its own service's business, which says so."""
    with suppress(ValidationError, OSError):
        return read_card(folder)
    logger.warning("unreadable card", extra={"model": f"{folder.parent.name} {folder.name}"})
    return None
