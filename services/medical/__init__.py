"""The medical service: low-dose CT and chest X-ray. Research use only, not a medical device."""
