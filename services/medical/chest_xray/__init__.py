"""Chest X-ray: diagnosis and predicted visual attention of frontal films, in one answer."""
