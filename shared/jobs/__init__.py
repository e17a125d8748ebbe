"""Long work that survives: a record and an event stream in Redis, attempts with a lease and a fencing token.

The record is the truth. A Celery message only says "look at job X", may be lost or doubled, and carries no payload:

- `store.JobStore` (the API side, async) writes the record first and publishes after;
- `attempts.Attempts` (the worker side) claims a job atomically, and every later write compares the attempt's token;
- `admission` says why a job is not taken: one for each creation key, a limit for each caller, a bounded queue per kind;
- `sweeper.Sweeper` (in every worker) queues jobs again whose worker or message was lost, and ends what is overdue;
- `watchdog.Watchdog` (in every worker) ends a worker that lives and does nothing, so that it is started afresh;
- `overview` is what operators see; jobs that were given up are dead letters, and `JobStore.retry` tries one again;
- `lua/` holds each transition as one atomic script.
"""
