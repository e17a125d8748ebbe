"""Captions of photographs: networks, decoding, metrics."""
