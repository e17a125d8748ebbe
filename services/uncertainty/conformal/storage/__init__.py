"""Storage of calibrations, streams and monitors: blobs, and records in Redis."""
