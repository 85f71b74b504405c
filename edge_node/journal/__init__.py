"""What must survive a power cut, in one SQLite file."""
