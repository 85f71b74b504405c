"""`python -m edge_node`: the same as the command `edge-node`."""

from edge_node.cli import main

main()
