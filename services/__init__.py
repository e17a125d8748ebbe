"""The model services: one package per domain, each an application of its own; none imports another."""
