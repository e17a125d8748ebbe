"""Models that users bring: what is to be served is in Redis, their files in the blob store, and services follow.

Nothing is on a service's own disk, so that every replica of a service comes to the same state, also after a restart.
"""
