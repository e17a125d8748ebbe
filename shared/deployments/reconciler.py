"""Brings a service to what its domain's plan says, in the background of its requests."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import anyio

from shared.deployments.desired_state import Deployment, DesiredState, Key
from shared.deployments.store import DesiredStateStore, Report, VersionReport
from shared.problems import FieldError, ServiceUnavailable
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.cancellation import CancellationToken, interruptible
from shared.runtime.inspection.preparation import TrialLimits, prepare_async
from shared.runtime.inspection.sandbox import try_model
from shared.runtime.inspection.verification import MOST_BYTES, Refused, refused, verify
from shared.runtime.models.registry import ModelNote, ModelRegistry
from shared.runtime.models.sessions import OnnxModel
from shared.settings import Domain
from shared.storage.blobs import BlobCorrupted, BlobMissing, BlobStore

logger = logging.getLogger(__name__)

_RETRY_S = 5.0
_FAREWELL_S = 2.0


class Reconciler:
    """Opens and closes uploaded models as the plan says. Belongs to one event loop.

    A service whose Redis does not answer serves on with what it has.

    Args:
        domain: whose plan.
        plans: where it is.
        registry: serves what is open.
        batchers: of the service.
        blobs: where the files are.
        limits: of the trial that comes before a model is opened here.
        most_bytes: of a file.
        poll_s: seconds between two looks at the plan's revision.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        plans: DesiredStateStore,
        registry: ModelRegistry,
        batchers: Batchers,
        blobs: BlobStore,
        limits: TrialLimits,
        most_bytes: int = MOST_BYTES,
        poll_s: float = 0.5,
    ) -> None:
        self._domain, self._plans, self._registry, self._batchers = domain, plans, registry, batchers
        self._blobs, self._limits, self._most_bytes, self._poll_s = blobs, limits, most_bytes, poll_s
        self._replica = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._plan: DesiredState | None = None
        self._open: dict[Key, str] = {}
        self._errors: dict[Key, tuple[FieldError, ...]] = {}
        self._loads: dict[Key, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._looked = self._silent = False

    async def check(self) -> str | None:
        """Readiness: None when what the plan names is open or was refused, or when nobody can say what it names."""
        return "uploaded models are loading" if not self._looked or self._loads else None

    async def follow(self) -> None:
        """Look at the plan until cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._poll_s)
        finally:
            with anyio.move_on_after(_FAREWELL_S, shield=True):
                await self._leave()

    async def _look(self) -> None:
        try:
            revision = await self._plans.revision(self._domain)
            if self._plan is None or revision != self._plan.revision:
                self._reach(await self._plans.read(self._domain))
            await self._plans.report(self._domain, self._replica, self.report())
            self._silent = False
        except ServiceUnavailable:
            if not self._silent:
                logger.warning("plan of models cannot be read", extra={"domain": self._domain})
            self._silent = True
        self._looked = True

    async def _leave(self) -> None:
        """End what is under way, trials' processes among it, so that nobody waits for this replica."""
        tasks = [*self._loads.values(), *self._retiring]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ServiceUnavailable):
            await self._plans.leave(self._domain, self._replica)

    def report(self) -> Report:
        """What this replica has come to."""
        plan = self._plan or DesiredState()
        return Report(plan.revision, {key: self._report_of(key, one) for key, one in plan.deployments.items()})

    def _report_of(self, key: Key, deployment: Deployment) -> VersionReport:
        if key in self._errors:
            return VersionReport("failed", self._errors[key])
        if key in self._open:
            return VersionReport("ready")
        return VersionReport("loading" if deployment.loaded else "unloaded")

    def _reach(self, plan: DesiredState) -> None:
        """Begin to open what is missing, stop serving what is not wanted, direct requests."""
        wanted = {
            key: one for key, one in plan.deployments.items() if one.loaded and key not in self._registry.released
        }
        before = self._plan
        self._plan = plan
        self._registry.direct(plan.aliases, plan.canaries)
        for key in [key for key, blob in self._open.items() if key not in wanted or wanted[key].blob != blob]:
            self._close(key)
        self._give_up_on(wanted, before)
        for key, one in plan.deployments.items():
            if key not in wanted:
                self._registry.note(*key, ModelNote("unloaded", one.card))
            elif key not in self._open and key not in self._loads and key not in self._errors:
                self._registry.note(*key, ModelNote("loading", one.card))
                self._loads[key] = asyncio.create_task(self._load(key, one))
        for key in before.deployments.keys() - plan.deployments.keys() if before else ():
            self._registry.note(*key, None)

    def _give_up_on(self, wanted: Mapping[Key, Deployment], before: DesiredState | None) -> None:
        """Forget loads and failures of what is not wanted any more, of another file, or once more."""
        for key in [*self._loads, *self._errors]:
            earlier = before.deployments.get(key) if before else None
            if key not in wanted or earlier != wanted[key]:
                self._errors.pop(key, None)
                if (task := self._loads.pop(key, None)) is not None:
                    task.cancel()

    def _close(self, key: Key) -> None:
        """Serve it to nobody new; what is under way ends, then the memory is given back."""
        del self._open[key]
        model = self._registry.withdraw(*key)
        logger.info("model unloaded", extra={"model": " ".join(key)})
        if model is not None:
            task = asyncio.create_task(self._batchers.retire(model))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _load(self, key: Key, deployment: Deployment) -> None:
        try:
            async with self._one_at_a_time:
                model = await self._opened(deployment)
        except Refused as failure:
            self._fail(key, deployment, failure)
        except Exception as error:  # onnxruntime raises a type of its own per failure, and so do stores
            logger.exception("model failed", extra={"model": " ".join(key)})
            self._fail(key, deployment, refused("/body/file", f"It cannot be opened: {type(error).__name__}."))
        else:
            self._open[key] = deployment.blob
            self._registry.note(*key, None)
            self._registry.add(model)
            logger.info("model ready", extra={"model": " ".join(key)})
        self._loads.pop(key, None)
        await self._look()

    def _fail(self, key: Key, deployment: Deployment, failure: Refused) -> None:
        self._errors[key] = failure.errors
        self._registry.note(*key, ModelNote("failed", deployment.card, str(failure)))
        logger.error("model refused", extra={"model": " ".join(key), "reason": str(failure)})

    async def _opened(self, deployment: Deployment) -> OnnxModel:
        """Fetch, verify, prepare, try in a process of its own, open here, warm up.

        Raises:
            Refused: any of it failed.
        """
        card, content = deployment.card, await self._fetch(deployment.blob)
        facts = await asyncio.to_thread(verify, content, card, most_bytes=self._most_bytes)
        content = await prepare_async(content, facts, self._limits)
        size = await try_model(content, card, self._limits)
        interruption = CancellationToken()
        timer = asyncio.get_running_loop().call_later(self._limits.timeout_s, interruption.interrupt)
        made = partial(OnnxModel.made, card, content, threads=self._limits.threads, shared=True)
        try:
            with interruptible(interruption):
                return await asyncio.to_thread(made, size=size)
        finally:
            timer.cancel()

    async def _fetch(self, blob: str) -> bytes:
        """The file; asked for again until the store answers."""
        while True:
            try:
                return await asyncio.to_thread(self._blobs.get, blob)
            except BlobMissing:
                raise refused("/body/file", "Its file is not in the blob store.") from None
            except BlobCorrupted:
                raise refused("/body/file", "Its file in the blob store is damaged.") from None
            except OSError:
                logger.warning("blob store does not answer", exc_info=True)
                await asyncio.sleep(_RETRY_S)
