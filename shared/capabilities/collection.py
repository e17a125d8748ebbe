"""All capabilities of a fleet, checked against each other, and what each part of the frame reads of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from shared.capabilities.declaration import AccessRule, Capability, Sample, SampleFile
from shared.jobs.kinds import JobKind
from shared.settings import DOMAINS, Domain, Settings


class BodyLimits:
    """How large the body of a request may be, by its path.

    Args:
        usual: bytes, of every path that is not named.
        by_path: bytes, of these paths and all below them; the longest path counts.
    """

    def __init__(self, usual: int, by_path: Mapping[str, int] | None = None) -> None:
        self._usual = usual
        self._by_path = sorted(
            ((path, limit) for path, limit in (by_path or {}).items()), key=lambda item: -len(item[0])
        )

    def __call__(self, path: str) -> int:
        """Most bytes of the body of a request for a path."""
        for prefix, limit in self._by_path:
            if is_below(path, prefix):
                return limit
        return self._usual


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is another, or one below it."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"", "/"}


class Capabilities:
    """The capabilities of a fleet, by domain and in the order of their chapters.

    Args:
        declared: each once.

    Raises:
        ValueError: two of them claim the same name, job, path, chapter or media type.
    """

    def __init__(self, declared: Iterable[Capability] = ()) -> None:
        self._all = tuple(sorted(declared, key=_place))
        _refuse_twice("capability", (f"{one.domain}/{one.name}" for one in self))
        _refuse_twice("kind of job", (kind.name for kind in self.kinds))
        _refuse_twice("path of an access rule", (rule.path for rule in self.access))
        _refuse_twice("path of a body limit", (limit.path for one in self for limit in one.body_limits))
        _refuse_twice("tag", (one.tag.name for one in self if one.tag is not None))
        _refuse_twice("media type", (file.media_type for one in self for file in one.file_types))
        _refuse_twice("sample file", {(file.name, file.make): file.name for file in self.sample_files}.values())

    def __iter__(self) -> Iterator[Capability]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def of(self, domain: Domain) -> tuple[Capability, ...]:
        """Those of one service."""
        return tuple(one for one in self if one.domain == domain)

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """All jobs."""
        return tuple(kind for one in self for kind in one.kinds)

    @property
    def scopes(self) -> Mapping[str, str]:
        """All scopes, and what they allow to in the words of every capability that declares them."""
        words: dict[str, dict[str, None]] = {}
        for one in self:
            for scope in one.scopes:
                words.setdefault(scope.name, {})[scope.allows] = None
        return {name: "; ".join(said) for name, said in words.items()}

    @property
    def access(self) -> tuple[AccessRule, ...]:
        """All access rules."""
        return tuple(rule for one in self for rule in one.access)

    @property
    def tags(self) -> Mapping[str, str]:
        """Descriptions by the names of chapters, in their order."""
        tags = sorted((one.tag for one in self if one.tag is not None), key=lambda tag: (tag.order, tag.name))
        return {tag.name: tag.description for tag in tags}

    @property
    def extensions(self) -> Mapping[str, str]:
        """Extensions of files by media type."""
        return {file.media_type: file.extension for one in self for file in one.file_types}

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples."""
        return tuple(sample for one in self for sample in one.samples)

    @property
    def sample_files(self) -> tuple[SampleFile, ...]:
        """Files of all samples."""
        return tuple(file for sample in self.samples for file in sample.files.values())

    def body_limits(self, settings: Settings) -> BodyLimits:
        """The limits of all paths.

        Raises:
            pydantic.ValidationError: the settings of a capability are wrong.
        """
        usual = settings.upload_limit_bytes
        declared = {limit.path: limit.most_bytes for one in self for limit in one.body_limits}
        return BodyLimits(usual, {path: max(usual, most_bytes()) for path, most_bytes in declared.items()})

    def check_settings(self) -> None:
        """Read the settings of every capability, so that a wrong one is told at the start.

        Raises:
            pydantic.ValidationError: one is wrong.
        """
        for one in self:
            if one.settings is not None:
                one.settings()


def _place(capability: Capability) -> tuple[int, int, str]:
    order = capability.tag.order if capability.tag is not None else 0
    return DOMAINS.index(capability.domain), order, capability.name


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"declared by two capabilities: {what} {', '.join(twice)}")
