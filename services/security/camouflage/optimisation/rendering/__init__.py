"""Pictures as differentiable functions of the texture; everything else about them is constant."""
