"""What of camouflage needs gradients: the torch worker runs it, and nothing that serves imports it."""
