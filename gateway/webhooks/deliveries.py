"""What became of the messages to a webhook: list them, read the tries of one, deliver one again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from gateway.redis_deadline import redis_deadline
from gateway.state import Caller, Gateway
from gateway.webhooks.routes import LOCATION, NO_STORE, WebhookId
from gateway.webhooks.schemas import (
    DeliveryAttemptView,
    DeliveryList,
    DeliveryView,
    DeliveryWithAttempts,
    webhook_path,
)
from shared.http.paging import link_next
from shared.problems import Conflict, NotFound, ServiceUnavailable, UnprocessableContent, problem_responses
from shared.webhooks.records import DeliveryStatus

router = APIRouter(prefix="/v1/webhooks/{webhook_id}/deliveries", tags=["webhooks"])

DeliveryId = Annotated[
    str, Path(description="Id of the delivery", max_length=64, examples=["msg_019878a15b1f0000000017"])
]

_PROBLEMS = problem_responses(NotFound, ServiceUnavailable)


@router.get(
    "",
    summary="List deliveries",
    responses={
        200: {"headers": {"Link": {"description": '`rel="next"`: the next page', "schema": {"type": "string"}}}},
        **_PROBLEMS,
        **problem_responses(UnprocessableContent),
    },
)
async def list_deliveries(
    gateway: Gateway,
    owner: Caller,
    webhook_id: WebhookId,
    response: Response,
    status: Annotated[DeliveryStatus | None, Query(description="Only deliveries in this status")] = None,
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Most deliveries on the page")] = 20,
) -> DeliveryList:
    """Deliveries, newest first, as long as they are kept."""
    async with redis_deadline():
        page = await gateway.webhooks.deliveries(webhook_id, owner=owner, status=status, cursor=cursor, limit=limit)
    response.headers["Cache-Control"] = NO_STORE
    query = {"status": status, "limit": limit, "cursor": page.next_cursor}
    link_next(response, f"{webhook_path(webhook_id)}/deliveries", query)
    views = [DeliveryView.of(delivery) for delivery in page.deliveries]
    return DeliveryList(deliveries=views, next_cursor=page.next_cursor)


@router.get("/{delivery_id}", summary="Read a delivery", responses=_PROBLEMS)
async def read_delivery(
    gateway: Gateway, owner: Caller, webhook_id: WebhookId, delivery_id: DeliveryId, response: Response
) -> DeliveryWithAttempts:
    """One delivery with its tries: when, how long, and what the receiver answered."""
    async with redis_deadline():
        delivery = await gateway.webhooks.delivery(webhook_id, delivery_id, owner=owner)
    response.headers["Cache-Control"] = NO_STORE
    attempts = [DeliveryAttemptView.of(attempt) for attempt in delivery.attempts]
    return DeliveryWithAttempts(**DeliveryView.of(delivery).model_dump(), attempts=attempts)


@router.post(
    "/{delivery_id}/redelivery",
    summary="Deliver again",
    operation_id="webhooks.deliveries.redeliver",
    status_code=202,
    responses={202: {"headers": LOCATION}, **_PROBLEMS, **problem_responses(Conflict)},
)
async def redeliver(
    gateway: Gateway, owner: Caller, webhook_id: WebhookId, delivery_id: DeliveryId, response: Response
) -> DeliveryView:
    """Send the same message with the same `webhook-id` now, whatever became of it before, and with all its retries.

    One that is being sent at this moment is left to it.
    """
    async with redis_deadline():
        delivery = await gateway.webhooks.redeliver(webhook_id, delivery_id, owner=owner)
    response.headers["Location"] = f"{webhook_path(webhook_id)}/deliveries/{delivery.id}"
    return DeliveryView.of(delivery)
