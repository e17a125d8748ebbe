"""Models that a service has: opened as sessions, registered by version, listed, found by their purpose, released."""
