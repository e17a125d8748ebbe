"""What is made of what an attack has found: statistics, charts, advice, and the page."""
