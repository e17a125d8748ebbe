"""What the training of several domains needs: published weights, and graphs with weights in half precision."""
