"""The detectors that are asked: of this fleet in process, and endpoints elsewhere that an operator registered."""
