"""What camouflage is measured by."""
