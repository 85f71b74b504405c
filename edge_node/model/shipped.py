"""The adapter that may come along: for commands of nodes that have none of their own.

Knows where it lies in the package; knows nothing of how it was trained or is run.
"""

from __future__ import annotations

from pathlib import Path

from edge_node.model.session import read_adapter

FOLDER = Path(__file__).resolve().parent.parent / "adapters" / "default"
"""Folder of the adapter, its report and how to make it again."""
FILE = "adapter.onnx_adapter"


def shipped_adapter(base: int, *, folder: Path = FOLDER) -> Path | None:
    """Return the file of the adapter that ships, or None where there is none for this base.

    Args:
        base: Number of the base model, as its manifest has it.
        folder: Where to look.

    Raises:
        ModelCorrupt: The file cannot be read.
    """
    path = folder / FILE
    return path if path.is_file() and read_adapter(path).base == base else None
