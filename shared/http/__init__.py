"""The HTTP plumbing that gateway and services share: one application factory, plain ASGI middleware, negotiation."""
