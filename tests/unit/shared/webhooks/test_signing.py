"""Signatures, held against the specification's own example and its Python library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.webhooks.signing import new_secret, signature, signature_headers

BODY = b'{"type":"job.succeeded","data":{"kind":"\xc3\xa4"}}'


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def test_the_known_example() -> None:
    # From the tests of the reference libraries.
    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_library_accepts_what_is_signed() -> None:
    secret = new_secret()
    headers = signature_headers([secret], message_id="msg_1", timestamp=now(), body=BODY)
    assert Webhook(secret).verify(BODY, headers) == {"type": "job.succeeded", "data": {"kind": "ä"}}


def test_each_of_two_secrets_verifies() -> None:
    first, second = new_secret(), new_secret()
    headers = signature_headers([first, second], message_id="msg_1", timestamp=now(), body=BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    Webhook(first).verify(BODY, headers)
    Webhook(second).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body"])
def test_whatever_is_changed_is_noticed(changed: str) -> None:
    secret, timestamp = new_secret(), now()
    headers = signature_headers([secret], message_id="msg_1", timestamp=timestamp, body=BODY)
    headers |= {"webhook-id": "msg_2"} if changed == "webhook-id" else {}
    headers |= {"webhook-timestamp": str(timestamp + 1)} if changed == "webhook-timestamp" else {}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" " if changed == "body" else BODY, headers)


def test_secrets_are_long_enough_and_fresh() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in made} == {32}
