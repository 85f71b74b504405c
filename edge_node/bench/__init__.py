"""What this machine manages, measured from outside on running processes."""
