"""Projection and filtered back-projection of parallel beams, and the compiled loops of both."""
