"""Training of the diffusion model of textures, and its release."""
