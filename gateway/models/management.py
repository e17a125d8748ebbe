"""Changes of what is served: written to the plan of the domain, then waited for until its services have followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from gateway.models.listing import FleetCard, FleetModels, ask_all, find_version, find_versions
from gateway.state import GatewayState
from shared.deployments.desired_state import Deployment, DesiredState, Key, require_interchangeable
from shared.deployments.store import DesiredStateStore, VersionReport
from shared.problems import BadGateway, BadRequest, Conflict, NotFound, ServiceUnavailable, UnprocessableContent
from shared.runtime.inspection.verification import Refused
from shared.settings import Domain

PROBLEMS: Final = (BadRequest, NotFound, Conflict, UnprocessableContent, BadGateway, ServiceUnavailable)
"""What a change may be answered with."""

_LOOK_S: Final = 0.1
_FOLLOWED_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Management:
    """Changes the plans of a fleet.

    Attributes:
        gateway: whose fleet.
        plans: of its domains.
    """

    gateway: GatewayState
    plans: DesiredStateStore

    async def fleet(self) -> FleetModels:
        """All models as the services show them now."""
        return await ask_all(self.gateway.upstreams)

    async def version(self, name: str, version: str) -> FleetCard:
        """One version, by number or alias.

        Raises:
            NotFound: there is none.
            ServiceUnavailable: it cannot be known, as a service does not answer.
        """
        return find_version(await self.fleet(), name, version)

    async def named(self, name: str, version: str) -> FleetCard:
        """One version, by all of its number or by an alias: what changes something must not depend on what is newest.

        Raises:
            NotFound: there is none.
            Conflict: the beginning of a number names it only.
            ServiceUnavailable: it cannot be known, as a service does not answer.
        """
        found = await self.version(name, version)
        if version not in {found.version, *found.aliases}:
            raise Conflict(f"{version} is {found.version} at present: name that, as another may be the newest soon.")
        return found

    async def uploaded(self, name: str, version: str, *, to: str) -> FleetCard:
        """A version that may be changed, as `named` finds it.

        Raises:
            Conflict: it is a released one.
            NotFound: there is none.
            ServiceUnavailable: it cannot be known.
        """
        found = await self.named(name, version)
        if found.origin == "released":
            raise Conflict(f"{name} {found.version} was released with the service and cannot be {to}.")
        return found

    async def upload(self, domain: Domain, upload: Deployment) -> tuple[FleetCard, bool]:
        """Serve a model whose file is verified and stored.

        Returns:
            The version as it is now, and whether it is new.

        Raises:
            Conflict: the name belongs to another service, or the version to another file or card.
            UnprocessableContent: another version takes or gives something else, or the service refused it.
            ServiceUnavailable: the service or Redis does not answer.
        """
        card = upload.card
        await self._require_place(domain, upload)
        before = await self.plans.read(domain)
        known = (card.name, card.version) in before.deployments
        plan = await self.plans.change(domain, lambda plan: plan.with_upload(upload))
        report = await self._followed(domain, plan.revision, (card.name, card.version))
        if report is not None and report.state == "failed" and not known:
            plan = await self.plans.change(domain, lambda plan: _without(plan, card.name, card.version))
            await self._followed(domain, plan.revision, None)
            raise Refused(*report.errors).problem()
        self.gateway.locator.note(card.name, domain)
        return await self.version(card.name, card.version), not known

    async def _require_place(self, domain: Domain, upload: Deployment) -> None:
        card, fleet = upload.card, await self.fleet()
        if (silent := fleet.unavailable.get(domain)) is not None:
            raise ServiceUnavailable(f"The {domain} service cannot take a model at present: {silent}.")
        others = fleet.versions(card.name)
        if elsewhere := [other.domain for other in others if other.domain != domain]:
            raise Conflict(f"The name {card.name} belongs to a model of the {elsewhere[0]} service.")
        same = [other for other in others if other.version == card.version and other.origin == "released"]
        if same and same[0].weights.sha256 != card.weights.sha256:
            raise Conflict(f"{card.name} {card.version} was released with another file.")
        if same:
            raise Conflict(f"{card.name} {card.version} is released with this file and is served already.")
        require_interchangeable(card, [other for other in others if other.version != card.version])

    async def change(
        self, name: str, alter: Callable[[DesiredState], DesiredState], *, key: Key | None = None
    ) -> VersionReport | None:
        """Change what concerns a model, and wait a few seconds for its services to follow.

        Args:
            name: of the model.
            alter: makes the new plan.
            key: a version to wait for until it is open or refused.

        Returns:
            What the slowest replica says of that version; None where none was asked about.
        """
        domain = find_versions(await self.fleet(), name)[0].domain
        plan = await self.plans.change(domain, alter)
        return await self._followed(domain, plan.revision, key)

    async def _followed(self, domain: Domain, revision: int, key: Key | None) -> VersionReport | None:
        """Wait until all replicas that are alive follow this revision, and have opened the version or refused it."""
        began = time.monotonic()
        longest = self.gateway.settings.model_trial_timeout_s + _FOLLOWED_WITHIN_S
        while True:
            reports = await self.plans.reports(domain)
            behind = [report for report in reports if report.revision < revision]
            versions = [report.versions[key] for report in reports if key is not None and key in report.versions]
            failed = [report for report in versions if report.state == "failed"]
            loading = [report for report in versions if report.state == "loading"]
            if reports and not behind and not loading:
                return next(iter([*failed, *versions]), None)
            waited = time.monotonic() - began
            if waited > (longest if loading and not behind else _FOLLOWED_WITHIN_S):
                return next(iter([*failed, *loading]), None)
            await asyncio.sleep(_LOOK_S)


def _without(plan: DesiredState, name: str, version: str) -> DesiredState:
    return plan.without(name, version) if (name, version) in plan.deployments else plan


def _management(request: Request) -> Management:
    state: GatewayState = request.app.state.gateway
    return Management(state, state.plans)


Managed = Annotated[Management, Depends(_management)]
"""Annotate a route's parameter with this to change what is served."""
