"""The index of the manuals on disk: files, chunks, words and vectors in one SQLite file.

Knows tables and checksums; knows nothing of how documents are read, embedded or ranked. All of it can be
made anew from the manuals, so a damaged file is set aside and a damaged row is left out.
"""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import structlog

from edge_node.database import Database
from edge_node.errors import DatabaseError, KnowledgeIndexError
from edge_node.knowledge.values import StoredChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_node.database import Cursor
    from edge_node.knowledge.values import NewFile

FILE_NAME = "knowledge.db"
_MIGRATIONS = (
    (
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO facts VALUES ('generation', 0)",
        """CREATE TABLE files (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            node TEXT NOT NULL, file TEXT NOT NULL, digest TEXT NOT NULL, note TEXT NOT NULL,
            UNIQUE (node, file))""",
        # AUTOINCREMENT: a number is never given twice, so a search that overlaps a rebuild finds nothing
        # under an old number rather than another text.
        """CREATE TABLE chunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
            page INTEGER, first_line INTEGER NOT NULL, last_line INTEGER NOT NULL,
            heading TEXT NOT NULL, text TEXT NOT NULL, checksum INTEGER NOT NULL,
            vector_key TEXT NOT NULL)""",
        "CREATE INDEX chunks_by_file ON chunks (file_id)",
        """CREATE TABLE vectors (
            key TEXT NOT NULL, embedder TEXT NOT NULL, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
            PRIMARY KEY (key, embedder))""",
        """CREATE VIRTUAL TABLE words USING fts5 (
            context, body, tokenize = 'porter unicode61 remove_diacritics 2')""",
    ),
)

_log = structlog.get_logger(__name__)


def searched(context: str, *, body: str) -> str:
    """Return the text that is embedded for a chunk."""
    return f"{context}\n{body}"


def vector_key(text: str) -> str:
    """Return the name under which the vector of `text` is kept."""
    return sha256(text.encode()).hexdigest()[:32]


class Store:
    """The index on disk.

    Attributes:
        path: The file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.path = database.path

    @classmethod
    def open(cls, state_folder: Path) -> Store:
        """Return the index in a state folder, empty where there is none or where it was corrupt.

        Raises:
            KnowledgeIndexError: The file can be neither opened nor set aside.
        """
        path = state_folder / FILE_NAME
        database = Database.open(path, migrations=_MIGRATIONS, set_aside=True, error=KnowledgeIndexError)
        store = cls(database)
        store._mend_words()
        return store

    def _mend_words(self) -> None:
        try:
            self._database.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        except DatabaseError as problem:
            _log.warning("knowledge_words_damaged", file=str(self.path), reason=str(problem))
            self._database.execute("INSERT INTO words (words) VALUES ('rebuild')")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def generation(self) -> int:
        """Return a number that grows with every build, also of another process."""
        return int(self._database.execute("SELECT value FROM facts WHERE name = 'generation'")[0][0])

    def digests(self) -> dict[tuple[str, str], str]:
        """Return (node, file) to digest of every file whose chunks are all undamaged."""
        damaged = {
            int(file_id)
            for file_id, text, checksum in self._database.execute(
                "SELECT file_id, text, checksum FROM chunks"
            )
            if _checksum(text.encode()) != checksum
        }
        rows = self._database.execute("SELECT id, node, file, digest FROM files")
        return {(node, file): digest for file_id, node, file, digest in rows if file_id not in damaged}

    def texts(self, files: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return vector key to the text that is embedded, for all chunks of `files`."""
        wanted = set(files)
        rows = self._database.execute(
            """SELECT files.node, files.file, chunks.vector_key, words.context, words.body
            FROM chunks JOIN files ON files.id = chunks.file_id JOIN words ON words.rowid = chunks.id"""
        )
        return {
            key: searched(context, body=body)
            for node, file, key, context, body in rows
            if (node, file) in wanted
        }

    def keys(self, embedder: str) -> frozenset[str]:
        """Return the keys of the undamaged vectors of an embedder."""
        rows = self._database.execute(
            "SELECT key, vector, checksum FROM vectors WHERE embedder = ?", (embedder,)
        )
        return frozenset(key for key, vector, checksum in rows if _checksum(vector) == checksum)

    def keep(self, vectors: Mapping[str, NDArray[np.float32]], *, embedder: str) -> None:
        """Write vectors, so that a build that is cut off need not make them again.

        Raises:
            KnowledgeIndexError: They cannot be written.
        """
        rows = [
            (key, embedder, blob := vector.astype("<f4").tobytes(), _checksum(blob))
            for key, vector in vectors.items()
        ]
        with self._database.transaction() as cursor:
            cursor.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    def replace(self, new: Sequence[NewFile], *, kept: Iterable[tuple[str, str]], embedder: str) -> int:
        """Put `new` files in, take all but these and `kept` ones out, and return how many vanished.

        One transaction: whoever reads sees the old index or the new one.

        Raises:
            KnowledgeIndexError: It cannot be written; the old index stays.
        """
        staying = set(kept)
        arriving = {(file.node, file.file) for file in new}
        with self._database.transaction() as cursor:
            present = cursor.execute("SELECT id, node, file FROM files").fetchall()
            for file_id, node, file in present:
                if (node, file) not in staying:
                    cursor.execute(
                        "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE file_id = ?)",
                        (file_id,),
                    )
                    cursor.execute("DELETE FROM files WHERE id = ?", (file_id,))
            for added in new:
                _insert(cursor, added)
            cursor.execute(
                "DELETE FROM vectors WHERE embedder != ? OR key NOT IN (SELECT vector_key FROM chunks)",
                (embedder,),
            )
            cursor.execute("UPDATE facts SET value = value + 1 WHERE name = 'generation'")
        return sum((node, file) not in staying | arriving for _, node, file in present)

    def vectors(self, embedder: str) -> dict[str, tuple[list[int], NDArray[np.float32]]]:
        """Return node to chunk numbers and their vectors, shape (numbers, dimension), dtype float32.

        A damaged vector is left out: its chunk is then found by its words alone, until the next build.
        """
        rows = self._database.execute(
            """SELECT files.node, chunks.id, vectors.vector, vectors.checksum FROM chunks
            JOIN files ON files.id = chunks.file_id JOIN vectors ON vectors.key = chunks.vector_key
            WHERE vectors.embedder = ? ORDER BY chunks.id""",
            (embedder,),
        )
        found: dict[str, tuple[list[int], list[NDArray[np.float32]]]] = {}
        for node, chunk, blob, checksum in rows:
            if _checksum(blob) != checksum:
                _log.warning("knowledge_vector_damaged", chunk=chunk, way_out="edge-node knowledge build")
                continue
            numbers, vectors = found.setdefault(node, ([], []))
            numbers.append(chunk)
            vectors.append(np.frombuffer(blob, dtype="<f4"))
        return {node: (numbers, np.stack(vectors)) for node, (numbers, vectors) in found.items()}

    def count(self) -> int:
        """Return how many chunks there are."""
        return int(self._database.execute("SELECT COUNT(*) FROM chunks")[0][0])

    def notes(self) -> list[tuple[str, str, str]]:
        """Return node, file and note of every file that was read with a reservation."""
        rows = self._database.execute(
            "SELECT node, file, note FROM files WHERE note != '' ORDER BY node, file"
        )
        return [(node, file, note) for node, file, note in rows]

    def find_words(self, query: str, *, node: str, limit: int, context_weight: float) -> dict[int, float]:
        """Return chunk number to BM25 relevance, greater is better, of the best matches.

        Args:
            query: FTS5 query.
            node: Node to search; empty for all.
            limit: How many at most.
            context_weight: How much a word in the headings counts, against 1 in the text.

        Raises:
            KnowledgeIndexError: The index cannot be read.

        Source: SQLite FTS5, section 7.1 (bm25() is smaller for better matches).
        """
        rows = self._database.execute(
            """SELECT words.rowid, -bm25(words, ?, 1.0) AS relevance FROM words
            JOIN chunks ON chunks.id = words.rowid JOIN files ON files.id = chunks.file_id
            WHERE words MATCH ? AND (? = '' OR files.node = ?)
            ORDER BY relevance DESC, words.rowid LIMIT ?""",
            (context_weight, query, node, node, limit),
        )
        return {int(chunk): float(relevance) for chunk, relevance in rows}

    def chunks(self, numbers: Sequence[int]) -> dict[int, StoredChunk]:
        """Return number to chunk; a damaged one or one that is gone is left out."""
        marks = ", ".join("?" * len(numbers))
        rows = self._database.execute(
            f"""SELECT chunks.id, node, file, page, first_line, last_line, heading, text, checksum
            FROM chunks JOIN files ON files.id = chunks.file_id WHERE chunks.id IN ({marks})""",  # noqa: S608 - only question marks
            tuple(numbers),
        )
        found = {}
        for *fields, checksum in rows:
            stored = StoredChunk(*fields)
            if _checksum(stored.text.encode()) == checksum:
                found[stored.id] = stored
            else:
                _log.warning("knowledge_text_damaged", file=stored.file, way_out="edge-node knowledge build")
        return found


def _insert(cursor: Cursor, added: NewFile) -> None:
    cursor.execute(
        "INSERT INTO files (node, file, digest, note) VALUES (?, ?, ?, ?)",
        (added.node, added.file, added.digest, added.note),
    )
    file_id = cursor.lastrowid
    for chunk in added.chunks:
        key = vector_key(searched(chunk.context, body=chunk.body))
        cursor.execute(
            """INSERT INTO chunks (file_id, page, first_line, last_line, heading, text, checksum, vector_key)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                file_id,
                chunk.page,
                chunk.first_line,
                chunk.last_line,
                chunk.heading,
                chunk.text,
                _checksum(chunk.text.encode()),
                key,
            ),
        )
        cursor.execute(
            "INSERT INTO words (rowid, context, body) VALUES (?, ?, ?)",
            (cursor.lastrowid, chunk.context, chunk.body),
        )


def _checksum(data: bytes) -> int:
    return zlib.crc32(data)
