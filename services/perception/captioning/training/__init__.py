"""Training of captioners: cached features, networks, two stages of training, export, a baseline; torch only here."""
