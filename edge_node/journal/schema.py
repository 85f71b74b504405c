"""The tables of the journal, as statements that lead from one schema version to the next.

Knows SQL and names; knows nothing of when rows are written. A change is a new entry at the end: what
was released is never edited.
"""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE inbox (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            received_at REAL NOT NULL,
            qos INTEGER NOT NULL,
            retained INTEGER NOT NULL,
            response_topic TEXT NOT NULL,
            correlation BLOB NOT NULL,
            dropped_bytes INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('open', 'done', 'dead', 'duplicate')),
            reason TEXT NOT NULL DEFAULT '',
            ended_at REAL
        )
        """,
        "CREATE INDEX inbox_open ON inbox (sequence) WHERE state = 'open'",
        "CREATE INDEX inbox_ended ON inbox (ended_at) WHERE state <> 'open'",
        "CREATE INDEX inbox_requests ON inbox (topic, correlation) WHERE length(correlation) > 0",
        """
        CREATE TABLE outbox (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            qos INTEGER NOT NULL,
            retain INTEGER NOT NULL,
            expires_at REAL,
            correlation BLOB NOT NULL,
            content_type TEXT NOT NULL,
            command_id TEXT NOT NULL,
            created_at REAL NOT NULL,
            state TEXT NOT NULL
                CHECK (state IN ('pending', 'sent', 'delivered', 'doubtful', 'expired', 'refused')),
            reason TEXT NOT NULL DEFAULT '',
            ended_at REAL
        )
        """,
        "CREATE INDEX outbox_open ON outbox (sequence) WHERE state IN ('pending', 'sent')",
        "CREATE INDEX outbox_ended ON outbox (ended_at) WHERE state NOT IN ('pending', 'sent')",
        """
        CREATE TABLE commands (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            node TEXT NOT NULL,
            name TEXT NOT NULL,
            device TEXT NOT NULL,
            state TEXT NOT NULL,
            idempotent INTEGER NOT NULL,
            record TEXT NOT NULL,
            ended_at REAL
        )
        """,
        "CREATE INDEX commands_open ON commands (sequence) WHERE ended_at IS NULL",
        "CREATE INDEX commands_ended ON commands (ended_at) WHERE ended_at IS NOT NULL",
        """
        CREATE TABLE decisions (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            message_id TEXT NOT NULL,
            node TEXT NOT NULL,
            kind TEXT NOT NULL,
            record TEXT NOT NULL,
            ended_at REAL NOT NULL
        )
        """,
        "CREATE INDEX decisions_ended ON decisions (ended_at)",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    ("ALTER TABLE inbox ADD COLUMN packet_id INTEGER NOT NULL DEFAULT 0",),
    (
        """
        CREATE TABLE memory (
            owner TEXT NOT NULL,
            key TEXT NOT NULL,
            turn INTEGER NOT NULL,
            body TEXT,
            PRIMARY KEY (owner, key)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX memory_forgotten ON memory (turn) WHERE body IS NULL",
    ),
    (
        "ALTER TABLE commands ADD COLUMN life TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE decisions ADD COLUMN command_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE decisions ADD COLUMN correlation TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE decisions ADD COLUMN device TEXT NOT NULL DEFAULT ''",
        """
        UPDATE decisions SET
            command_id = coalesce(json_extract(record, '$.command.id'), ''),
            correlation = coalesce(json_extract(record, '$.request.correlation'), ''),
            device = coalesce(
                json_extract(record, '$.command.device'), json_extract(record, '$.request.device'), ''
            )
        """,
        "CREATE INDEX decisions_command ON decisions (command_id) WHERE command_id > ''",
        "CREATE INDEX decisions_correlation ON decisions (correlation) WHERE correlation > ''",
        "CREATE INDEX decisions_message ON decisions (message_id)",
    ),
    ("ALTER TABLE inbox ADD COLUMN expires_at REAL",),
    (
        "ALTER TABLE decisions ADD COLUMN task TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX decisions_task ON decisions (task) WHERE task > ''",
    ),
)

KEPT_TABLES = {
    "inbox": "state <> 'open'",
    "outbox": "state NOT IN ('pending', 'sent')",
    "commands": "ended_at IS NOT NULL",
    "decisions": "ended_at IS NOT NULL",
}
"""Tables whose ended rows are pruned, and which those are, in the words of the index over `ended_at`: said
otherwise, SQLite would read the whole table."""
