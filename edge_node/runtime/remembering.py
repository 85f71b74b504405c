"""What is known of devices and triggers, taken up at a start and written at a stop.

Knows the pipeline, the twin and the journal; knows nothing of what is remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from edge_node.errors import JournalError

if TYPE_CHECKING:
    from edge_node.journal.journal import Journal
    from edge_node.pipeline import Pipeline
    from edge_node.twin import DeviceTwin

log = structlog.get_logger(__name__)


def remember(pipeline: Pipeline, *, twin: DeviceTwin, journal: Journal, now: float) -> None:
    """Let the stages know what was saved, and the twin what was journaled after that.

    To be called before the first message. A crash takes what was not saved; what came with QoS 1 stands in
    the journal all the same, as far back as any value counts.
    """
    pipeline.restore()
    twin.recall(journal.recent(since=now - twin.longest_stale_s))


def save(pipeline: Pipeline) -> None:
    """Write all that is remembered and not on the disk yet; the log tells where the disk refuses."""
    try:
        while pipeline.save():
            pass
    except JournalError:
        log.exception("memory_not_saved", consequence="the next start knows less")
