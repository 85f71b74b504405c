"""Models of both files, and how they are read."""
