"""Linear heads that are fitted on features as they are, and temperatures of logits: no network is trained here."""
