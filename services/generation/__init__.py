"""The generation service: fashion design by diffusion and talking heads."""
