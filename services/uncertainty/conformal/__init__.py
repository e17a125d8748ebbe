"""Conformal prediction: sets and intervals that hold the truth as often as they say (Vovk, Gammerman, Shafer 2005)."""
