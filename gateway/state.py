"""What the gateway's own routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gateway.access.event_links import EventLinks
from gateway.upstream.model_locator import ModelLocator
from gateway.upstream.services import Upstreams
from shared.access.audit import AuditLog
from shared.access.keys import ApiKey
from shared.answers.stored_files import AnswerFiles
from shared.deployments.store import DesiredStateStore
from shared.jobs.store import JobStore
from shared.request_context import current_caller
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from shared.webhooks.ssrf_guard import SsrfGuard
from shared.webhooks.store import WebhookStore

KEY_IN_SCOPE = "facet.key"
"""Where the API key of a request is found in its ASGI scope."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """Found at `app.state.gateway`."""

    settings: Settings
    upstreams: Upstreams
    jobs: JobStore
    blobs: BlobStore
    answer_files: AnswerFiles
    """What answers of services link to."""
    webhooks: WebhookStore
    audit: AuditLog
    guard: SsrfGuard
    """Where webhooks may go."""
    locator: ModelLocator
    """Which service has a model."""
    plans: DesiredStateStore
    """What is to be served beside released models."""
    event_links: EventLinks
    """Open the events of jobs to browsers."""


def gateway_state(request: Request) -> GatewayState:
    """The state of the gateway that got this request."""
    state: GatewayState = request.app.state.gateway
    return state


async def caller() -> str:
    """Who asks, as authenticated; everybody is the same caller as long as there are no API keys."""
    return current_caller()


async def visible_owner(request: Request) -> str | None:
    """Whose jobs the caller may see and act on: its own, or everybody's for an admin."""
    key: ApiKey | None = request.scope.get(KEY_IN_SCOPE)
    return None if key is not None and "admin" in key.scopes else await caller()


Gateway = Annotated[GatewayState, Depends(gateway_state)]
"""Annotate a route's parameter with this to get the gateway's state."""

Caller = Annotated[str, Depends(caller)]
"""Annotate a route's parameter with this to get who asks."""

VisibleOwner = Annotated[str | None, Depends(visible_owner)]
"""Annotate a route's parameter with this to get the owner whose jobs may be seen; None stands for everybody."""
