"""NeuralFuse (Sun et al. 2024, arXiv:2306.16869): pictures made ready for classifiers with bit errors."""
