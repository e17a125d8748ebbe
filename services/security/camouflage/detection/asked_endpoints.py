"""The registered detectors of a job, with budgets that outlast its worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.security.camouflage.detection.endpoint_detector import EndpointDetector
from services.security.camouflage.detection.endpoints import DetectorEndpoint
from services.security.camouflage.detection.transfers import PREFIX, EndpointUsed
from services.security.endpoints.settings import EndpointSettings
from shared.fleet.budget import QueryBudget
from shared.problems import UnprocessableContent, field_problem


@dataclass(frozen=True, slots=True)
class AskedEndpoints:
    """Endpoints that are open.

    Attributes:
        detectors: by name, as `transfer` has it.
        budgets: likewise.
        tries: of each picture, likewise.
    """

    detectors: Mapping[str, EndpointDetector]
    budgets: Mapping[str, QueryBudget]
    tries: Mapping[str, int]

    @property
    def spent(self) -> dict[str, int]:
        """Pictures that each has seen, or may have."""
        return {name: budget.spent for name, budget in self.budgets.items()}

    def reserve(self, pictures: int) -> dict[str, int]:
        """The same if each of so many pictures, which are sent next, takes all its tries: whatever breaks, a budget
        that goes on from there is not exceeded.
        """
        return {
            name: min(budget.limit, budget.spent + pictures * self.tries[name]) for name, budget in self.budgets.items()
        }


@contextmanager
def open_endpoints(
    used: Sequence[EndpointUsed],
    settings: EndpointSettings[DetectorEndpoint],
    *,
    spent: Mapping[str, int],
    watch: Callable[[], object],
) -> Iterator[AskedEndpoints]:
    """The endpoints of a job, with their connections.

    Args:
        used: as they were asked for.
        settings: which are registered.
        spent: of their budgets by earlier attempts, by name as `transfer` has it.
        watch: called now and then while answers are waited for; what it raises ends the waiting.

    Raises:
        UnprocessableContent: one is not registered any more, or cannot be asked.
    """
    budgets = {PREFIX + one.name: QueryBudget(one.budget, spent=spent.get(PREFIX + one.name, 0)) for one in used}
    detectors, tries = {}, {}
    with ExitStack() as stack:
        for one in used:
            name = PREFIX + one.name
            try:
                endpoint = settings.endpoint(one.name)
            except KeyError:
                raise field_problem("/body/transfer", f"{name} is not registered any more.") from None
            try:
                detectors[name] = stack.enter_context(
                    EndpointDetector(endpoint, budgets[name], networks=settings.allowed_networks, watch=watch)
                )
            except ValueError as error:
                raise UnprocessableContent(f"{name} cannot be asked: {error}.") from None
            tries[name] = endpoint.tries
        yield AskedEndpoints(detectors, budgets, tries)
