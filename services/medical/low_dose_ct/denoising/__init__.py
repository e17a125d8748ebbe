"""How the network is applied: in overlapping parts, as far as an image is noisy."""
