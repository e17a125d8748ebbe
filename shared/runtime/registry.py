"""The models of one service: found, verified, opened and warmed up before the service says it is ready."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ValidationError

from shared.problems import NotFound, ServiceUnavailable, problem_responses
from shared.runtime.cards import CARD_FILE, DigestMismatch, ModelCard
from shared.runtime.sessions import OnnxModel

logger = logging.getLogger(__name__)


class ModelRegistry:
    """Opens `<folder>/<name>/<version>/` models and hands them out by name.

    A model that cannot be opened keeps the service from getting ready but not from living: the others serve on.

    Args:
        folder: the service's `models` folder; may be absent.
        threads: threads per session.
        warm_ups: called once after the models are open.
    """

    def __init__(self, folder: Path, *, threads: int, warm_ups: Sequence[Callable[[], object]] = ()) -> None:
        self._folder = folder
        self._warm_ups = warm_ups
        self._threads = threads
        self._models: dict[str, dict[str, OnnxModel]] = {}
        self._failures: list[str] = []
        self._opened = False

    def _folders(self) -> Iterator[Path]:
        yield from sorted(card.parent for card in self._folder.glob(f"*/*/{CARD_FILE}"))

    def open(self) -> None:
        """Open and warm up every model. Blocking: seconds of work."""
        for folder in self._folders():
            label = f"{folder.parent.name} {folder.name}"
            try:
                model = OnnxModel.open(folder, threads=self._threads)
                _require_own_folder(model.card, folder)
                seconds = model.warm_up()
            except Exception as error:  # onnxruntime raises a type of its own per failure
                self._fail(label, _reason(error))
            else:
                self._models.setdefault(model.card.name, {})[model.card.version] = model
                logger.info("model ready", extra={"model": label, "warm_up_ms": round(seconds * 1000, 1)})
        for warm_up in self._warm_ups:
            try:
                warm_up()
            except Exception as error:  # whatever it is, the service is not ready, and says why
                self._fail(getattr(warm_up, "__name__", "warm-up"), f"{type(error).__name__}: {error}")
        self._opened = True

    def _fail(self, label: str, reason: str) -> None:
        self._failures.append(f"{label}: {reason}")
        logger.error("model refused", extra={"model": label, "reason": reason})

    async def open_in_background(self) -> None:
        """`open` without holding up the event loop, so that liveness answers meanwhile."""
        await anyio.to_thread.run_sync(self.open)

    async def check(self) -> str | None:
        """Readiness: None when every model is open, else what is wrong."""
        if not self._opened:
            return "models are loading"
        return "; ".join(self._failures) or None

    @property
    def cards(self) -> list[ModelCard]:
        """Cards of all open models."""
        return [model.card for versions in self._models.values() for model in versions.values()]

    def versions(self, name: str) -> list[str]:
        """Versions of a model that are open, oldest first."""
        return sorted(self._models.get(name, {}), key=_by_number)

    def get(self, name: str, version: str | None = None) -> OnnxModel:
        """The model called `name`, the newest version unless one is named.

        Raises:
            ServiceUnavailable: models are still loading, or this one was refused.
            NotFound: there is no such model.
        """
        versions = self._models.get(name, {})
        if version is None and versions:
            return versions[max(versions, key=_by_number)]
        if version in versions:
            return versions[version]
        if not self._opened or any(failure.startswith(f"{name} ") for failure in self._failures):
            raise ServiceUnavailable(f"The model {name} is not loaded. /health/ready says why.", retry_after_s=5)
        known = ", ".join(f"{card.name} {card.version}" for card in self.cards) or "none"
        raise NotFound(f"There is no model {name}{f' {version}' if version else ''}. Models here: {known}.")


class _Misplaced(Exception):
    """A card in the folder of another model or version."""


def _require_own_folder(card: ModelCard, folder: Path) -> None:
    """Workers look models up by folder, services by card: the two must agree."""
    if (card.name, card.version) != (folder.parent.name, folder.name):
        raise _Misplaced(f"its card is that of {card.name} {card.version}")


def _reason(error: Exception) -> str:
    """Why a model was refused, for /health/ready: which field or file, but no path of the machine."""
    if isinstance(error, ValidationError):
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return "card.json: " + "; ".join(faults)
    if isinstance(error, DigestMismatch | _Misplaced):
        return str(error)
    if isinstance(error, OSError):
        return f"{Path(error.filename or 'a file').name} cannot be read ({type(error).__name__})"
    return type(error).__name__


def _by_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class ModelList(BaseModel):
    """The models of a service."""

    models: list[ModelCard]


def models_router(registry: ModelRegistry) -> APIRouter:
    """Routes under /v1/models that show the cards of a service's models."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", summary="List models", operation_id="models-list")
    async def list_models() -> ModelList:
        """The card of every model that this service has open."""
        return ModelList(models=registry.cards)

    @router.get(
        "/{name}", summary="Read a model card", operation_id="models-get", responses=problem_responses(NotFound)
    )
    async def get_model(name: str) -> ModelCard:
        """The card of a model: paper, training, measured quality beside its baseline, digest, limits."""
        return registry.get(name).card

    return router


def newest_folder(models: Path, name: str) -> Path:
    """The folder of the newest version of a model.

    Raises:
        FileNotFoundError: there is no such model.
    """
    versions = sorted(
        (card.parent for card in models.glob(f"{name}/*/{CARD_FILE}")), key=lambda path: _by_number(path.name)
    )
    if not versions:
        raise FileNotFoundError(f"there is no model {name}")
    return versions[-1]
