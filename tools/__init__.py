"""Tools of those who work on Facet; no process of a fleet imports them, and no image holds them."""
