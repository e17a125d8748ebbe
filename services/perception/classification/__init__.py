"""Traffic-sign classification: the classifier that other systems explain, protect and calibrate."""
