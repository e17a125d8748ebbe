"""Schemathesis against a whole fleet: `make fuzz`."""
