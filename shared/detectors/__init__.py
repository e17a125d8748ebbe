"""Detectors of objects, whoever asks them: what their cards say, how they want pictures, what of their answers counts.

The capability that serves them and those that test them see the same boxes by the same code.
"""
