"""The operator's command line, `facet`: jobs, keys, the audit log and how the fleet is."""
