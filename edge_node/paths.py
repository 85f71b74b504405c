"""Where caches and state lie.

`EDGE_NODE_HOME` moves everything; knows nothing of what is kept there.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of caches and state: $EDGE_NODE_HOME, else ~/.local/share/edge-node."""
    named = os.environ.get("EDGE_NODE_HOME")
    return Path(named).expanduser() if named else Path.home() / ".local" / "share" / "edge-node"


def models_folder() -> Path:
    """Return the folder that holds one folder for each model."""
    return home() / "models"


def prefixes_folder() -> Path:
    """Return the folder of what language models have read of prompts' beginnings."""
    return home() / "prefixes"


def state_folder(edge: str) -> Path:
    """Return the folder that holds the journal and the indexes of one edge."""
    return home() / "state" / edge
