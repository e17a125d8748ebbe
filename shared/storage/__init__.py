"""Where bytes that outlive a request are kept."""
