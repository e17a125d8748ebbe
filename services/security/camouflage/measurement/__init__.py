"""What a texture is measured with: conditions that no step has seen, who is asked under them, rates, intervals."""
