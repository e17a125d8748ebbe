"""The perception service: the models that others attack, protect and explain."""
