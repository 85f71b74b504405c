"""Simulated devices, and a tour that shows the framework on them."""
