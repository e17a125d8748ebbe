"""Paint that hides a vehicle from a detector, in simulation: how far an owner's own detector degrades (FPA)."""
