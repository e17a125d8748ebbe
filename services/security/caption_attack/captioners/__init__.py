"""The captioners that are asked, in the fleet and elsewhere, and how each query is counted."""
