"""The broker, seen from inside: a client of a real one, one in memory, and one that ships."""
