"""Conformal prediction measured on data: published figures, other libraries."""
