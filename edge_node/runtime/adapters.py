"""Which adapter the commands of each node run with.

Knows node files, the file that tuning leaves beside one, and the adapter that ships; knows nothing of how an
adapter is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from edge_node.model.session import read_adapter
from edge_node.model.shipped import shipped_adapter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node

_log = structlog.get_logger(__name__)

TUNED = "tuned.onnx_adapter"
"""File beside node.yaml that tuning leaves; it counts where node.yaml names no adapter."""
_SHIPPED = "adapter that ships"  # no node can be called so: names have no blanks


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of some nodes.

    Attributes:
        files: Name of an adapter to its file.
        of: Node to the name of its adapter; a node without one is not there.
        usual: Name of the adapter of nodes that come later and have none of their own, or empty.
    """

    files: Mapping[str, Path]
    of: Mapping[str, str]
    usual: str = ""

    def told(self) -> str:
        """Return which adapters these are, with their hashes, for the record of what decides."""
        hashes = {name: sha256(path.read_bytes()).hexdigest() for name, path in sorted(self.files.items())}
        return ", ".join(f"{name} sha256 {digest}" for name, digest in hashes.items())


def adapters_of(nodes: Sequence[Node], *, base: int, shipped: bool) -> Adapters:
    """Return the adapter of each node: the one that it names, the one tuned for it, or the one that ships.

    Args:
        nodes: The nodes.
        base: Number of the base model.
        shipped: Whether the adapter that ships may be used.
    """
    usual = shipped_adapter(base) if shipped else None
    files = {_SHIPPED: usual} if usual else {}
    of: dict[str, str] = {}
    for node in nodes:
        own = _own(node, base=base)
        if own is not None:
            files[node.name] = own
            of[node.name] = node.name
        elif usual and node.spec.commands:
            of[node.name] = _SHIPPED
    return Adapters(files, of, _SHIPPED if usual else "")


def _own(node: Node, *, base: int) -> Path | None:
    if node.spec.model.adapter:
        return node.folder / node.spec.model.adapter
    tuned = node.folder / TUNED
    if not tuned.is_file():
        return None
    made_for = read_adapter(tuned).base
    if made_for != base:
        # Nobody named it, so that another model in the runtime file must not keep the edge from starting.
        _log.warning("adapter_left_out", node=node.name, file=str(tuned), made_for=made_for, base=base)
        return None
    return tuned
