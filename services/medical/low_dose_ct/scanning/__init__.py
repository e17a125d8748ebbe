"""Scans that are simulated, and the objects that are scanned."""
