"""Networks that training and jobs with gradients of several domains build on; nothing that serves imports it."""
