"""How calibrations, streams and monitors are stored."""
