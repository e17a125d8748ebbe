"""Drills that kill what runs, and count what is left: `make chaos` writes `report.md`."""
