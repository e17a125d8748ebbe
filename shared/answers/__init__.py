"""Answers of one computation in several formats: one of them answered, others stored and linked."""
