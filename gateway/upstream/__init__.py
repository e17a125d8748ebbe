"""The way to the services: where they are, what carries a request, which fields cross, and who has which model."""
