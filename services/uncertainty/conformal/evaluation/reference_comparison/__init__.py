"""TorchCP, MAPIE and crepes beside these methods, in an environment of their own."""
