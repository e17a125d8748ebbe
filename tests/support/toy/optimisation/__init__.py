"""What needs gradients; the torch worker alone imports it."""
