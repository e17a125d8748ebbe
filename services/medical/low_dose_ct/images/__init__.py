"""Images of the pipeline: what their values are in physical units, and how well two agree."""
