"""Many requests in one run of a model: queues and what they admit, batches, executors, time that runs take, metrics."""
