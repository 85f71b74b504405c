"""Where the ready nodes and the example configuration lie.

They travel in the wheel, and stand at the top of a checkout. Knows nothing of their content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edge_node.errors import Unavailable

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(name: Literal["nodes", "config"]) -> Path:
    """Return the folder of the ready nodes, or that of the example configuration and the schemas.

    Raises:
        Unavailable: The package was installed without them.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        # A checkout is told from a site-packages folder that happens to hold another `config`.
        if folder.is_dir() and (
            folder.parent.name == "_data" or (_PACKAGE.parent / "pyproject.toml").is_file()
        ):
            return folder
    raise Unavailable(f"edge_node's folder {name!r}", hint="install edge-node from its wheel")
