"""Models of the fleet at the gateway: cards, uploads, versions, aliases, canaries, and Triton's model repository."""
