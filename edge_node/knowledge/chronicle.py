"""The lines that programs and machines wrote on the bus, kept for a while so that they can be searched.

Knows topics, days and one SQLite file; knows nothing of how documents are cut, embedded or ranked. The lines
of a topic and a day are one document, which grows and then goes as a whole: a line keeps the number by which
it was cited.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.database import Database
from edge_node.errors import InputError, KnowledgeIndexError
from edge_node.knowledge.documents import LOG_SUFFIX
from edge_node.payloads import read_json
from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node
    from edge_node.messages import Message

FILE_NAME = "lines.db"
PREFIX = "mqtt:"
"""What the name of a document of lines begins with, so that it is none of a file."""
MAX_LINES = 50_000
"""Lines kept of all topics together; beyond them the oldest day goes."""
MAX_LINES_OF_A_DAY = 5_000
"""Lines kept of one topic and day: what writes more writes for programs."""
MAX_CHARACTERS = 500
"""Characters kept of a line."""
_MAX_BYTES = 64 * 1024
_MAX_DEPTH = 8
_DAY_S = 86_400.0
_TOPICS_KNOWN = 4096
_MIGRATIONS = (
    (
        """CREATE TABLE lines (
            node TEXT NOT NULL, topic TEXT NOT NULL, day TEXT NOT NULL, number INTEGER NOT NULL,
            message TEXT NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (node, topic, day, number), UNIQUE (node, message)) WITHOUT ROWID""",
    ),
)

_log = structlog.get_logger(__name__)

_Row = tuple[str, str, str, int, str, str]
_Document = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one topic and day, as a document.

    Attributes:
        node: The node that keeps them.
        file: By what they are cited, such as `mqtt:plant/p1/log/2026-01-31.log`.
        load: Returns the lines.
    """

    node: str
    file: str
    load: Callable[[], list[str]]

    def read(self) -> bytes:
        """Return the lines, each as an item of a list, so that it is quoted by itself."""
        return "".join(f"- {line}\n" for line in self.load()).encode()


class Chronicle:
    """The lines of all nodes; every method may be called from any thread.

    Args:
        database: Where they are kept.
        nodes: The nodes whose `knowledge` names topics of logs.
    """

    def __init__(self, database: Database, nodes: Sequence[Node]) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[_Row] = []
        rows = database.execute("SELECT node, topic, day, max(number) FROM lines GROUP BY node, topic, day")
        self._counts: Counter[_Document] = Counter(
            {(node, topic, day): number for node, topic, day, number in rows}
        )
        self._refused = 0
        self.use(nodes)

    @classmethod
    def open(cls, state_folder: Path, nodes: Sequence[Node]) -> Chronicle:
        """Return the lines in a state folder, none where there is no file or where it was corrupt.

        Raises:
            KnowledgeIndexError: The file can be neither opened nor set aside.
        """
        path = state_folder / FILE_NAME
        return cls(
            Database.open(path, migrations=_MIGRATIONS, set_aside=True, error=KnowledgeIndexError), nodes
        )

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.write()
        self._database.close()

    def use(self, nodes: Sequence[Node]) -> None:
        """Keep the lines that these nodes want from now on."""
        wanted = [
            (node.name, TopicPattern.parse(entry.log), entry.keep)
            for node in nodes
            for entry in node.spec.logs
        ]

        def keepers(topic: str) -> dict[str, float]:
            """Return the nodes that keep the lines of a topic, and for how many seconds."""
            kept: dict[str, float] = {}
            for name, pattern, keep_s in wanted:
                if pattern.match(topic) is not None:
                    kept[name] = max(keep_s, kept.get(name, 0.0))
            return kept

        self._keepers = lru_cache(maxsize=_TOPICS_KNOWN)(keepers)
        self._keeps_any = bool(wanted)

    def hear(self, message: Message) -> None:
        """Take up the line of a message, where a node keeps those of its topic."""
        if not self._keeps_any or message.retained or not (keepers := self._keepers(message.topic)):
            return
        text = line_of(message.payload)
        if not text:
            return
        at = datetime.fromtimestamp(message.received_at, UTC)
        day = f"{at:%Y-%m-%d}"
        with self._lock:
            for node in keepers:
                place = (node, message.topic, day)
                full = self._counts.total() >= MAX_LINES and not self._drop_oldest(before=day)
                if full or self._counts[place] >= MAX_LINES_OF_A_DAY:
                    self._refuse(message.topic)
                    continue
                self._counts[place] += 1
                self._waiting.append((*place, self._counts[place], message.id, f"{at:%H:%M:%S} {text}"))

    def write(self) -> bool:
        """Write what waits; return whether there was anything.

        Raises:
            KnowledgeIndexError: It cannot be written; it is tried again the next time.
        """
        with self._lock:
            rows = list(self._waiting)
            if rows:
                with self._database.transaction() as cursor:
                    cursor.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._waiting.clear()
        return bool(rows)

    def documents(self, *, now: float) -> list[Lines]:
        """Return the days that are kept, after letting go of those that are too old.

        Raises:
            KnowledgeIndexError: The file cannot be read or written.
        """
        with self._lock:
            for node, topic, day in list(self._counts):
                ended = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + _DAY_S
                keep_s = self._keepers(topic).get(node)
                if keep_s is None or ended < now - keep_s:
                    self._drop((node, topic, day))
            return [self._document(place) for place in sorted(self._counts)]

    def _document(self, place: _Document) -> Lines:
        node, topic, day = place

        def load() -> list[str]:
            found = self._database.execute(
                "SELECT number, text FROM lines WHERE node = ? AND topic = ? AND day = ? ORDER BY number",
                place,
            )
            # A message that came twice left its number unused; the others keep theirs.
            texts = {int(number): str(text) for number, text in found}
            return [texts.get(number, "") for number in range(1, max(texts, default=0) + 1)]

        return Lines(node, f"{PREFIX}{topic}/{day}{LOG_SUFFIX}", load)

    def _drop_oldest(self, *, before: str) -> bool:
        """Let go of the oldest day; return whether there was one before that day."""
        oldest = min(self._counts, key=lambda place: place[2])
        if oldest[2] >= before:
            return False
        self._drop(oldest)
        return True

    def _drop(self, place: _Document) -> None:
        self._database.execute("DELETE FROM lines WHERE node = ? AND topic = ? AND day = ?", place)
        self._waiting = [row for row in self._waiting if row[:3] != place]
        del self._counts[place]

    def _refuse(self, topic: str) -> None:
        self._refused += 1
        if self._refused == 1:
            limits = f"{MAX_LINES_OF_A_DAY} of a topic and day, {MAX_LINES} in all"
            _log.warning("lines_not_kept", topic=topic, limits=limits)


def line_of(payload: bytes) -> str:
    """Return what a payload says as one line, empty for what is no text.

    An object is told as its keys and values, such as `level error, message head too hot`.
    """
    try:
        document = read_json(payload, max_bytes=_MAX_BYTES, max_depth=_MAX_DEPTH)
    except InputError:
        # Programs colour their lines: signs that are no text are shown as such rather than refused.
        try:
            document = payload[:_MAX_BYTES].decode()
        except UnicodeDecodeError:
            return ""
    line = " ".join(_said(document).split())
    printable = "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
    return printable if len(printable) <= MAX_CHARACTERS else f"{printable[: MAX_CHARACTERS - 1]}…"


def _said(document: Any) -> str:
    match document:
        case dict():
            return ", ".join(f"{key} {_said(value)}" for key, value in document.items() if value is not None)
        case list():
            return ", ".join(_said(value) for value in document)
        case bool():
            return "true" if document else "false"
        case None:
            return ""
    return str(document)
