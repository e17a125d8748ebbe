"""What a camouflage is made of and how: the plan that requests, cost, job and report share, and what is painted."""
