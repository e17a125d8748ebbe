"""The models of one service: found, verified, opened and warmed up before the service says it is ready."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from pydantic import ValidationError

from shared.memory import release_garbage
from shared.problems import NotFound, ServiceUnavailable
from shared.request_context import current_context
from shared.runtime.cards import CARD_FILE, DigestMismatch, UploadedCard
from shared.runtime.inspection.verification import Refused
from shared.runtime.models.sessions import OnnxModel
from shared.runtime.models.version_routing import DEFAULT_ALIAS, Canary, VersionRouting, by_number, line_up, resolve
from shared.runtime.states import ModelState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelNote:
    """Why an uploaded version is not open.

    Attributes:
        state: what it is instead.
        card: of the version.
        reason: of a failure.
    """

    state: ModelState
    card: UploadedCard | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What is known of one version of a model.

    Attributes:
        card: of the version.
        released: whether it came with the code or the operator's folder; others were uploaded.
        state: whether it can be asked.
        reason: of a failure.
        aliases: that name it.
        is_default: whether it answers requests without a version.
        canary_share: of those requests that it takes from the default; None where it is no canary.
    """

    card: UploadedCard
    released: bool
    state: ModelState
    reason: str | None
    aliases: tuple[str, ...]
    is_default: bool
    canary_share: float | None


class ModelRegistry:
    """Opens the models of `<folder>/<name>/<version>/` and hands them out by name.

    A model that cannot be opened keeps the service from getting ready but not from living: the others serve on. One
    whose card wants it on demand is verified, and opened by the first request.

    Args:
        folders: the service's `models` folders; may be absent. Uploaded models are added at run time.
        threads: threads per session.
        warm_ups: called once after the models are open.
    """

    def __init__(self, *folders: Path, threads: int, warm_ups: Sequence[Callable[[], object]] = ()) -> None:
        self._folders_of_models = folders
        self._warm_ups = warm_ups
        self._threads = threads
        self._models: dict[str, dict[str, OnnxModel]] = {}
        self._line_ups: dict[str, VersionRouting] = {}
        self._aliases: Mapping[str, Mapping[str, str]] = {}
        self._canaries: Mapping[str, Canary] = {}
        self._notes: dict[tuple[str, str], ModelNote] = {}
        self._released: set[tuple[str, str]] = set()
        self._failures: list[str] = []
        self._opened = False

    def _folders(self) -> Iterator[Path]:
        for folder in self._folders_of_models:
            yield from sorted(card.parent for card in folder.glob(f"*/*/{CARD_FILE}"))

    def open(self) -> None:
        """Open and warm up every model. Blocking: seconds of work."""
        for folder in self._folders():
            label = f"{folder.parent.name} {folder.name}"
            try:
                model = OnnxModel.open(folder, threads=self._threads, shared=True)
                _require_own_folder(model.card, folder)
                seconds = model.warm_up() if model.is_open() else 0.0
            except Exception as error:  # onnxruntime raises a type of its own per failure
                self._fail(label, _reason(error))
            else:
                self._released.add((model.card.name, model.card.version))
                self.add(model)
                logger.info("model ready", extra={"model": label, "warm_up_ms": round(seconds * 1000, 1)})
        for warm_up in self._warm_ups:
            try:
                warm_up()
            except Exception as error:  # whatever it is, the service is not ready, and says why
                self._fail(getattr(warm_up, "__name__", "warm-up"), f"{type(error).__name__}: {error}")
        release_garbage()
        self._opened = True

    def _fail(self, label: str, reason: str) -> None:
        self._failures.append(f"{label}: {reason}")
        logger.error("model refused", extra={"model": label, "reason": reason})

    async def open_in_background(self) -> None:
        """`open` without holding up the event loop, so that liveness answers meanwhile."""
        await anyio.to_thread.run_sync(self.open)

    @property
    def opened(self) -> bool:
        """Whether every model of the folders has been tried."""
        return self._opened

    async def check(self) -> str | None:
        """Readiness: None when every model is open, else what is wrong."""
        if not self._opened:
            return "models are loading"
        return "; ".join(self._failures) or None

    @property
    def released(self) -> frozenset[tuple[str, str]]:
        """Name and version of all that was found in the folder."""
        return frozenset(self._released)

    @property
    def entries(self) -> list[ModelEntry]:
        """All versions of all models that are to be served here, open or not, by name and number."""
        entries = [self._entry(*key) for key in {*self._open_keys(), *self._notes}]
        return sorted(entries, key=lambda entry: (entry.card.name, by_number(entry.card.version)))

    def _open_keys(self) -> Iterator[tuple[str, str]]:
        yield from ((name, version) for name, versions in self._models.items() for version in versions)

    def _entry(self, name: str, version: str) -> ModelEntry:
        model = self._models.get(name, {}).get(version)
        note = self._notes.get((name, version)) or ModelNote("ready")
        serving = self._line_ups.get(name)
        default = serving.default.card.version if serving and serving.default else None
        canary = self._canaries.get(name)
        card = model.card if model is not None else note.card
        assert card is not None  # noqa: S101 - a note of what is not open has one
        return ModelEntry(
            card=card,
            released=(name, version) in self._released,
            state="ready" if model is not None else note.state,
            reason=note.reason,
            aliases=tuple(sorted(alias for alias, to in self._aliases.get(name, {}).items() if to == version)),
            is_default=version == default,
            canary_share=canary.share if canary and canary.version == version else None,
        )

    def versions(self, name: str) -> list[str]:
        """Versions of a model that are open, oldest first."""
        return sorted(self._models.get(name, {}), key=by_number)

    def get(self, name: str, version: str | None = None, *, request_id: str | None = None) -> OnnxModel:
        """The model that answers a request.

        Args:
            name: of the model.
            version: a version, the beginning of one or an alias; by default the one that the alias `default` names,
                else the newest, or the canary for its share of requests.
            request_id: decides whether the canary answers; that of the request at hand by default.

        Raises:
            ServiceUnavailable: models are still loading, or this one is not loaded.
            NotFound: there is no such model.
        """
        serving = self._line_ups.get(name)
        if serving is not None:
            if serving.canary is not None and version is None and request_id is None:
                context = current_context()
                request_id = context.request_id if context else ""
            model = serving.choose(version, request_id or "")
            if model is not None:
                return model
        raise self._missing(name, version)

    def _missing(self, name: str, version: str | None) -> NotFound | ServiceUnavailable:
        aliases = self._aliases.get(name, {})
        unopened = {key[1] for key in self._notes if key[0] == name}
        wanted = resolve(version or DEFAULT_ALIAS, unopened, aliases) or version or ""
        notes = [note for key, note in self._notes.items() if key[0] == name and wanted in {key[1], ""}]
        if notes:
            return ServiceUnavailable(
                f"The model {f'{name} {wanted}'.strip()} is not loaded: {notes[0].state}. /v1/models/{name} says more.",
                retry_after_s=5,
            )
        if not self._opened or any(failure.startswith(f"{name} ") for failure in self._failures):
            return ServiceUnavailable(f"The model {name} is not loaded. /health/ready says why.", retry_after_s=5)
        known = ", ".join(f"{key[0]} {key[1]}" for key in sorted(self._open_keys())) or "none"
        return NotFound(f"There is no model {name}{f' {version}' if version else ''}. Models here: {known}.")

    def add(self, model: OnnxModel) -> None:
        """Serve a model from now on."""
        card = model.card
        self._models.setdefault(card.name, {})[card.version] = model
        self._line_up(card.name)

    def withdraw(self, name: str, version: str) -> OnnxModel | None:
        """Serve a version no more. Whoever has it already may finish."""
        model = self._models.get(name, {}).pop(version, None)
        if not self._models.get(name):
            self._models.pop(name, None)
        self._line_up(name)
        return model

    def note(self, name: str, version: str, note: ModelNote | None) -> None:
        """Remember why a version is not open; None where there is nothing to say, or no such version any more."""
        if note is None:
            self._notes.pop((name, version), None)
        else:
            self._notes[name, version] = note

    def direct(self, aliases: Mapping[str, Mapping[str, str]], canaries: Mapping[str, Canary]) -> None:
        """Spread requests by these aliases and canaries, by name of the model, from now on."""
        self._aliases, self._canaries = aliases, canaries
        for name in {*self._models, *aliases, *canaries}:
            self._line_up(name)

    def _line_up(self, name: str) -> None:
        versions = self._models.get(name)
        if not versions:
            self._line_ups.pop(name, None)
            return
        aliases = self._aliases.get(name, {})
        self._line_ups[name] = line_up(dict(versions), aliases=aliases, canary=self._canaries.get(name))


class _Misplaced(Exception):
    """A card in the folder of another model or version."""


def _require_own_folder(card: UploadedCard, folder: Path) -> None:
    """Workers look models up by folder, services by card: the two must agree."""
    if (card.name, card.version) != (folder.parent.name, folder.name):
        raise _Misplaced(f"its card is that of {card.name} {card.version}")


def _reason(error: Exception) -> str:
    """Why a model was refused, for /health/ready: which field or file, but no path of the machine."""
    if isinstance(error, ValidationError):
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return "card.json: " + "; ".join(faults)
    if isinstance(error, DigestMismatch | _Misplaced | Refused):
        return str(error)
    if isinstance(error, OSError):
        return f"{Path(error.filename or 'a file').name} cannot be read ({type(error).__name__})"
    return type(error).__name__


def newest_folder(models: Path, name: str) -> Path:
    """The folder of the newest version of a model.

    Raises:
        FileNotFoundError: there is no such model.
    """
    versions = sorted(
        (card.parent for card in models.glob(f"{name}/*/{CARD_FILE}")), key=lambda path: by_number(path.name)
    )
    if not versions:
        raise FileNotFoundError(f"there is no model {name}")
    return versions[-1]
