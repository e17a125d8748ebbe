"""Training, evaluation and export of the low-dose CT denoiser; the only place of this capability that imports torch."""
