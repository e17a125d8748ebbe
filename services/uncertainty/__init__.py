"""The uncertainty service: conformal prediction and explanations."""
