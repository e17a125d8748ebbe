"""Sets of sampled texts."""
