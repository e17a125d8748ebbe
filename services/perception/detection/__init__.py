"""Detection of objects: boxes with a class and a score in pictures."""
