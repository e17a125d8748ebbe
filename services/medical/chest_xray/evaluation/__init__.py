"""What the chest X-ray model is measured by: films and patients, baselines, shortcuts, attention, refusals."""
