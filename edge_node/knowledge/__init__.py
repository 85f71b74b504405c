"""Manuals read, cut into passages, indexed, searched and cited."""
