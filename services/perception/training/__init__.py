"""What the training of several capabilities of this domain needs: published backbones and their weights."""
