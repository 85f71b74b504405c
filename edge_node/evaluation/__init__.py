"""Retrieval and answers measured against questions whose right answers are known."""
