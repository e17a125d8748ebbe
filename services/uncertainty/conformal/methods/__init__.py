"""The methods of conformal prediction on arrays: NumPy and SciPy, without HTTP, storage or problems."""
