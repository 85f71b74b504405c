"""What an edge keeps on this machine: models, state folder, journal and the operational stop.

Knows where these lie and how they are read; changes nothing but a file that it takes away again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from edge_node.checkup.findings import Finding, Level
from edge_node.database import Database
from edge_node.errors import EdgeNodeError, JournalError
from edge_node.journal.journal import JOURNAL_FILE
from edge_node.model.catalogue import Catalogue
from edge_node.model.store import ModelStore
from edge_node.paths import models_folder
from edge_node.runtime.state_lock import in_use
from edge_node.stop import StopFile
from edge_node.understand.templates import Templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.config.loaded import Configuration

_LITTLE_BYTES, _TOO_LITTLE_BYTES = 1024**3, 100 * 1024**2
_MB = 1024**2


def check_configuration(configuration: Configuration) -> Finding:
    """Return whether the nodes can be taken up; what stands in the files was checked when they were read."""
    try:
        Templates(configuration.nodes)
    except EdgeNodeError as error:
        return Finding.of("configuration", error)
    names = ", ".join(node.name for node in configuration.nodes) or "no node"
    text = f"{configuration.file}: edge {configuration.runtime.edge} with {names}"
    if not configuration.nodes:
        return Finding("configuration", Level.WARN, text, "name folders with a node.yaml under nodes")
    return Finding("configuration", Level.OK, text)


def check_models(configuration: Configuration) -> Iterator[Finding]:
    """Yield for each model whether it is there and all its files are those that were built."""
    store = ModelStore(models_folder(), catalogue=Catalogue.load())
    for kind, name in (
        ("language model", configuration.runtime.model.name),
        ("embedding model", configuration.runtime.embedding.name),
    ):
        try:
            yield Finding(kind, Level.OK, f"{name} in {store.locate(name)}, every hash as it was built")
        except EdgeNodeError as error:
            yield Finding.of(kind, error)


def check_state(folder: Path) -> Finding:
    """Return whether the state folder can be written, and has room."""
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    hint = "name another one with `state`, or let this user write there"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(there).free
    except OSError as problem:
        return Finding("state", Level.FAIL, f"{folder}: expected to write there, came {problem}", hint)
    runs = ", an edge runs on it" if in_use(folder) else ""
    text = f"{folder}: {free // _MB} MB free{runs}"
    room = "free space on the disk, or lower journal.keep and journal.rows"
    if free < _TOO_LITTLE_BYTES:
        return Finding("state", Level.FAIL, text, room)
    return (
        Finding("state", Level.WARN, text, room) if free < _LITTLE_BYTES else Finding("state", Level.OK, text)
    )


def check_journal(folder: Path) -> tuple[Finding, float]:
    """Return whether the journal is whole, and the last time that it has seen, seconds since the epoch."""
    path = folder / JOURNAL_FILE
    if not path.exists():
        return Finding("journal", Level.OK, f"{path}: none yet; the edge makes it when it starts"), 0.0
    try:
        database = Database.open(path, read_only=True, error=JournalError)
        try:
            ((waiting,),) = database.execute("SELECT count(*) FROM inbox WHERE state = 'open'")
            ((decided, latest),) = database.execute("SELECT count(*), max(ended_at) FROM decisions")
        finally:
            database.close()
    except EdgeNodeError as error:
        return Finding.of("journal", error), 0.0
    size = path.stat().st_size // 1024
    text = f"{path}: whole, {size} KB, {decided} decisions, {waiting} messages not finished"
    return Finding("journal", Level.OK, text), latest or 0.0


def check_stop(folder: Path) -> Finding:
    """Return whether an operational stop is latched, which lets no command leave."""
    record = StopFile(folder).read()
    if not record.stopped:
        return Finding("stop", Level.OK, "no operational stop is latched")
    why = f": {record.reason}" if record.reason else ""
    text = f"stopped by {record.user}{why}; no command leaves"
    return Finding("stop", Level.WARN, text, "when it is safe, reset it with `edge-node stop --reset`")
