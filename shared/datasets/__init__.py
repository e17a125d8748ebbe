"""Readers of public data sets that more than one domain trains on or is measured with."""
