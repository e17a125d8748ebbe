"""Safe retries: one `Idempotency-Key`, one execution (draft-ietf-httpapi-idempotency-key-header).

- `fingerprint` says whether two requests are the same one;
- `store.IdempotencyStore` holds claims and answers in Redis, large answers in the blob store;
- `runner.IdempotentRunner` runs a request under its key, whoever answers it.

What is kept: answers that the request alone determines, which are those of success and 400, 406, 413, 415 and 422.
After anything else (no worker, too many requests, a service that failed) the key is free again, and a retry runs.
Between a gateway that dies and its retry, `creation_key` keeps a job from being created twice.
"""
