"""Training of the traffic-sign classifier. The only place of this capability that may import torch."""
