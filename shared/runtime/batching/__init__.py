"""Many requests in one run of a model: queue, batches, executors, what is admitted, and what batches take in time."""
