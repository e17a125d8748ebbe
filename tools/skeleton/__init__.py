"""Writes the skeleton of a capability: `make capability DOMAIN=security NAME=example`."""
