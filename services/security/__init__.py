"""The security service: attacks on the fleet's own models, and defences."""
