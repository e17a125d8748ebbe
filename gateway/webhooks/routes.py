"""Webhooks of the caller: make, read, change, test, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from gateway.redis_deadline import redis_deadline
from gateway.state import Caller, Gateway
from gateway.webhooks.schemas import (
    CreatedWebhook,
    DeliveryView,
    NewSecret,
    NewWebhook,
    WebhookChange,
    WebhookList,
    WebhookView,
    webhook_path,
)
from shared.http.json_bodies import JsonRoute
from shared.problems import (
    BadRequest,
    Conflict,
    ContentTooLarge,
    NotFound,
    ServiceUnavailable,
    UnprocessableContent,
    field_problem,
    problem_responses,
)
from shared.webhooks.ssrf_guard import Refused, SsrfGuard

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=JsonRoute)

WebhookId = Annotated[
    str, Path(description="Id of the webhook", max_length=64, examples=["wh_5d0a1c2b3d4e5f6071829304"])
]

NO_STORE = "private, no-store"
LOCATION: dict[str, Any] = {"Location": {"description": "Path of what was made", "schema": {"type": "string"}}}

_PROBLEMS = problem_responses(NotFound, ServiceUnavailable)
_BODY_PROBLEMS = problem_responses(BadRequest, ContentTooLarge, UnprocessableContent)


@router.post(
    "",
    summary="Make a webhook",
    status_code=201,
    responses={201: {"headers": LOCATION}, **_BODY_PROBLEMS, **problem_responses(Conflict, ServiceUnavailable)},
)
async def create_webhook(gateway: Gateway, owner: Caller, wanted: NewWebhook, response: Response) -> CreatedWebhook:
    """Be told of your jobs by signed POST requests (https://www.standardwebhooks.com). Keep the secret: it is shown
    once. Messages may come twice or out of order; `webhook-id` and `timestamp` tell.
    """
    await _require_allowed(gateway.guard, wanted.url)
    async with redis_deadline():
        webhook, secret = await gateway.webhooks.create(
            owner,
            url=wanted.url,
            events=tuple(dict.fromkeys(wanted.events)),
            kinds=tuple(dict.fromkeys(wanted.kinds)),
            description=wanted.description,
        )
    response.headers["Location"] = webhook_path(webhook.id)
    response.headers["Cache-Control"] = NO_STORE
    return CreatedWebhook.with_secret(webhook, secret)


@router.get("", summary="List webhooks", responses=problem_responses(ServiceUnavailable))
async def list_webhooks(gateway: Gateway, owner: Caller, response: Response) -> WebhookList:
    """All of yours, newest first; their number is bounded."""
    async with redis_deadline():
        webhooks = await gateway.webhooks.list_webhooks(owner)
    response.headers["Cache-Control"] = NO_STORE
    return WebhookList(webhooks=[WebhookView.of(webhook) for webhook in webhooks])


@router.get("/{webhook_id}", summary="Read a webhook", responses=_PROBLEMS)
async def read_webhook(gateway: Gateway, owner: Caller, webhook_id: WebhookId, response: Response) -> WebhookView:
    """One webhook, with the reason if it is disabled."""
    async with redis_deadline():
        webhook = await gateway.webhooks.get(webhook_id, owner=owner)
    response.headers["Cache-Control"] = NO_STORE
    return WebhookView.of(webhook)


@router.patch("/{webhook_id}", summary="Change a webhook", responses={**_PROBLEMS, **_BODY_PROBLEMS})
async def update_webhook(gateway: Gateway, owner: Caller, webhook_id: WebhookId, change: WebhookChange) -> WebhookView:
    """Change what is given, and enable or disable it. Messages that wait go to the new URL."""
    async with redis_deadline():
        await gateway.webhooks.get(webhook_id, owner=owner)
    if change.url is not None:
        await _require_allowed(gateway.guard, change.url)
    given = change.model_dump(exclude_none=True, exclude={"enabled"})
    fields = {name: value if isinstance(value, str) else tuple(dict.fromkeys(value)) for name, value in given.items()}
    async with redis_deadline():
        webhook = await gateway.webhooks.change(webhook_id, owner=owner, enabled=change.enabled, fields=fields)
    return WebhookView.of(webhook)


@router.delete("/{webhook_id}", summary="Delete a webhook", status_code=204, responses=_PROBLEMS)
async def delete_webhook(gateway: Gateway, owner: Caller, webhook_id: WebhookId) -> Response:
    """Forget it, with its deliveries. A message that is on its way at this moment may still arrive."""
    async with redis_deadline():
        await gateway.webhooks.delete(webhook_id, owner=owner)
    return Response(status_code=204)


@router.post("/{webhook_id}/secret", summary="Replace the secret", responses=_PROBLEMS)
async def rotate_secret(gateway: Gateway, owner: Caller, webhook_id: WebhookId, response: Response) -> NewSecret:
    """Get a new secret. Until `old_secret_until` messages carry two signatures, one by each secret, so that a
    receiver can change over in between; a secret that was replaced before that signs no more.
    """
    async with redis_deadline():
        secret, until = await gateway.webhooks.rotate(webhook_id, owner=owner)
    response.headers["Cache-Control"] = NO_STORE
    return NewSecret(secret=secret, old_secret_until=until)


@router.post(
    "/{webhook_id}/test",
    summary="Test a webhook",
    status_code=202,
    responses={202: {"headers": LOCATION}, **_PROBLEMS, **problem_responses(Conflict)},
)
async def test_webhook(gateway: Gateway, owner: Caller, webhook_id: WebhookId, response: Response) -> DeliveryView:
    """Send `webhook.test`, whatever the webhook asks for; Location says how it goes."""
    async with redis_deadline():
        delivery = await gateway.webhooks.test(webhook_id, owner=owner)
    response.headers["Location"] = f"{webhook_path(webhook_id)}/deliveries/{delivery.id}"
    return DeliveryView.of(delivery)


async def _require_allowed(guard: SsrfGuard, url: str) -> None:
    try:
        await guard.check(url)
    except Refused as refused:
        raise field_problem("/body/url", str(refused)) from None
