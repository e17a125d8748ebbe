"""Surfaces that are painted: cars made here, and those that callers bring; and which triangle is seen where.

NumPy alone, for serving and jobs alike.

Axes are right-handed: x points to the front of a car, y to its left, z up; the ground is z = 0; lengths are metres.
"""
