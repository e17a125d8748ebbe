"""Networks that both training and jobs with gradients of this domain build on; nothing that serves imports it."""
