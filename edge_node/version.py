"""The version of edge_node."""

__version__ = "0.1.0"
