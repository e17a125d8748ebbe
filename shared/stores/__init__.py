"""Records in Redis that belong to a caller: made once, or with a state that changes under compare-and-set."""
