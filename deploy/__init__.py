"""Starting Facet: the local supervisor behind `make run`, and the images for containers."""
