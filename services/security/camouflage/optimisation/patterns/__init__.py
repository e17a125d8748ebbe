"""Ways to make a texture out of what an optimiser may change."""
