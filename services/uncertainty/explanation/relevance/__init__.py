"""The rules by which relevance is shared out, and the tensor operations that they are written in."""
