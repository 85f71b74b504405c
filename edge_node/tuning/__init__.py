"""Specialising the language model: cases, an adapter trained on them, a measure, and its installation."""
