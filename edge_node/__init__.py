"""A robotics and IoT node framework: MQTT in, checked commands and cited answers out.

The names below are the public API; each is imported when it is first used, and importing this package
configures nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_node.version import __version__

if TYPE_CHECKING:
    from edge_node.client import Client, Reply
    from edge_node.config.load import load
    from edge_node.config.loaded import Configuration
    from edge_node.errors import EdgeNodeError
    from edge_node.runtime.service import Service

__all__ = ["Client", "Configuration", "EdgeNodeError", "Reply", "Service", "__version__", "load"]

_HOMES = {
    "Client": "edge_node.client",
    "Configuration": "edge_node.config.loaded",
    "EdgeNodeError": "edge_node.errors",
    "Reply": "edge_node.client",
    "Service": "edge_node.runtime.service",
    "load": "edge_node.config.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
