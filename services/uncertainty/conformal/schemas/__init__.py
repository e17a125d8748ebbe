"""Pydantic models of requests and answers; their field names are public."""
