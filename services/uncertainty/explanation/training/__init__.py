"""The decomposition in torch: differentiable, for tests and for attacks on explanations. Imports torch."""
