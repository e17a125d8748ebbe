"""Bodies of requests, whole before anything is done with them: counted, timed, inflated, in memory or on disk."""
