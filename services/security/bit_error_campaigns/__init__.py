"""Campaigns of bit errors: how much accuracy any classifier loses when cells of its weight memory fail."""
