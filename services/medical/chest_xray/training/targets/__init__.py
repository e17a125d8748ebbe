"""What attention is trained on: a radiologist's boxes, and findings inserted into normal films under an observer model.

No gaze was measured for any of it.
"""
