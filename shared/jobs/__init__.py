"""Long work that survives: a record and an event stream in Redis, attempts with a lease and a fencing token.

The record is the truth. A Celery message only says "look at job X", may be lost or doubled, and carries no payload:

- `store.JobStore` (the API side, async) writes the record first and publishes after;
- `attempts.Attempts` (the worker side) claims a job atomically, and every later write compares the attempt's token;
- `sweeper.Sweeper` (in every worker) queues jobs again whose worker or message was lost, and ends what is overdue;
- `lua/` holds each transition as one atomic script.
"""
