"""How changed pixels are searched for: where, by which search, and what counts as a success."""
