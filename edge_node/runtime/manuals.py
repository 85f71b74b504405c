"""The index brought up to the manuals, with a line in the log for everything a person should know of it.

Knows the library and the log; knows nothing of when this is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_node.observe.progress import LoggedProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Node
    from edge_node.knowledge.library import Library

log = structlog.get_logger(__name__)


def read_manuals(library: Library, *, nodes: Sequence[Node]) -> None:
    """Bring an index up to the manuals of these nodes, and name what it does not hold as it should."""
    library.use(nodes)
    report = library.build(progress=LoggedProgress())
    kinds = {
        "manual_not_read": report.unreadable,
        "manual_read_with_reservation": report.notes,
        "manual_not_found": report.unmatched,
    }
    for kind, remarks in kinds.items():
        for remark in remarks:
            log.warning(kind, node=remark.node, file=remark.file, reason=remark.text)
