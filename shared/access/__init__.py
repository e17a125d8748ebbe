"""Who may do what: API keys with scopes, quotas per owner, and the log of who ran what on which digest."""
