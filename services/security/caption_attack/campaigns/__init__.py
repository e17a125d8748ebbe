"""One search on one picture each: options, how far it is, what it has found, and filters that this is tried behind."""
