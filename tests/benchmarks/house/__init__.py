"""Figures of the code itself: `make house` writes them to house.md."""
