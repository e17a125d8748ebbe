"""Training of the chest X-ray networks: networks, data, targets, losses, stages, release; needs torch."""
