"""Models of the fleet at the door: cards, uploads, versions, aliases, canaries, and Triton's model repository."""
