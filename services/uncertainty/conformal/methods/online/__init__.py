"""Streams: levels that adapt, and watching for the end of exchangeability."""
