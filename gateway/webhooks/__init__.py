"""Webhooks at the gateway: routes for their owners, and their messages in the OpenAPI document."""
