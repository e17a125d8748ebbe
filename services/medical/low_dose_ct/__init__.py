"""Low-dose CT: filtered back-projection, then a denoiser that was pretrained on Gaussian noise (arXiv 2403.03551).

The numerics (geometry, projection, simulation, reconstruction, metrics) need numpy, scipy, numba and finufft only;
nothing outside `training/` imports torch.
"""
