"""Base classifiers with quantised weights, the generators that protect them, their release and what they achieve."""
