"""Detection of objects: boxes with classes and scores on posted pictures, sets of annotated pictures to measure a
detector with, and the measures themselves.
"""
