"""Films, labels and boxes to train on: read once, prepared once, drawn in augmented batches."""
