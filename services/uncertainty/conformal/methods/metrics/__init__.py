"""What sets and intervals are measured by."""
