from __future__ import annotations

import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from edge_node.database import Database
from edge_node.errors import DatabaseError, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = ("CREATE TABLE things (name TEXT PRIMARY KEY)",)
SECOND = ("ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 1",)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "state" / "things.db", migrations=[FIRST])
    yield database
    database.close()


def names(database: Database) -> list[str]:
    return [row[0] for row in database.execute("SELECT name FROM things ORDER BY name")]


def test_it_is_synchronised_on_each_commit_and_readable_by_its_owner_only(database: Database) -> None:
    database.execute("INSERT INTO things VALUES ('a')")
    assert database.execute("PRAGMA journal_mode") == [("wal",)]
    assert database.execute("PRAGMA synchronous") == [(2,)]
    assert database.execute("PRAGMA foreign_keys") == [(1,)]
    for file in database.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


def test_a_transaction_is_written_whole_or_not_at_all(database: Database) -> None:
    def fail_half_way() -> None:
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO things VALUES ('a')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert names(database) == []
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO things VALUES ('a')")
        cursor.execute("INSERT INTO things VALUES ('b')")
    assert names(database) == ["a", "b"]


def test_a_part_of_a_transaction_can_fail_alone(database: Database) -> None:
    with database.transaction() as cursor:
        with database.part(cursor):
            cursor.execute("INSERT INTO things VALUES ('a')")
        with pytest.raises(DatabaseError), database.part(cursor):
            cursor.executemany("INSERT INTO things VALUES (?)", [("b",), ("a",)])
    assert names(database) == ["a"]


def test_errors_of_sqlite_are_mapped_with_the_file_in_them(database: Database) -> None:
    with pytest.raises(DatabaseError, match=r"things\.db: no such table"):
        database.execute("SELECT * FROM absent")
    with pytest.raises(DatabaseError, match="UNIQUE"), database.transaction() as cursor:
        cursor.executemany("INSERT INTO things VALUES (?)", [("a",), ("a",)])


def test_threads_do_not_see_half_a_transaction(database: Database) -> None:
    seen: list[int] = []
    written = threading.Event()

    def count() -> None:
        written.wait(10)
        seen.append(len(names(database)))

    reader = threading.Thread(target=count)
    reader.start()
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO things VALUES ('a')")
        written.set()
        cursor.execute("INSERT INTO things VALUES ('b')")
    reader.join(10)
    assert seen == [2]


def test_an_older_schema_is_brought_up_to_date_after_a_copy_was_made(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    old = Database.open(path, migrations=[FIRST])
    old.execute("INSERT INTO things VALUES ('a')")
    old.close()
    new = Database.open(path, migrations=[FIRST, SECOND])
    assert new.execute("SELECT name, size FROM things") == [("a", 1)]
    new.close()
    copy = tmp_path / "things.db.version-1"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    kept = Database.open(copy, migrations=[FIRST])
    assert kept.execute("SELECT * FROM things") == [("a",)]
    kept.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    Database.open(path, migrations=[FIRST]).close()
    with pytest.raises(DatabaseError, match="nothing"):
        Database.open(path, migrations=[FIRST, (*SECOND, "DROP TABLE nothing")])
    unchanged = Database.open(path, migrations=[FIRST])
    assert unchanged.execute("PRAGMA user_version") == [(1,)]
    assert len(unchanged.execute("PRAGMA table_info(things)")) == 1
    unchanged.close()


def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    Database.open(path, migrations=[FIRST, SECOND]).close()
    with pytest.raises(DatabaseError, match="expected schema version 1 or older, came 2") as caught:
        Database.open(path, migrations=[FIRST])
    assert "newer" in caught.value.hint


def test_a_corrupt_file_is_refused_and_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalError, match="not a database") as caught:
        Database.open(path, migrations=[FIRST], error=JournalError)
    assert "backup" in caught.value.hint
    assert path.read_bytes().startswith(b"no database")


def test_a_corrupt_file_is_set_aside_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    path.write_bytes(b"no database at all" * 100)
    database = Database.open(path, migrations=[FIRST], set_aside=True)
    assert names(database) == []
    database.close()
    (aside,) = tmp_path.glob("things.db.corrupt-*")
    assert aside.read_bytes().startswith(b"no database")


def test_damage_in_the_middle_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    database = Database.open(path, migrations=[FIRST])
    with database.transaction() as cursor:
        cursor.executemany("INSERT INTO things VALUES (?)", [(f"{number:0400}",) for number in range(200)])
    database.close()
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 6 * 4096] = b"\xa5" * (3 * 4096)
    path.write_bytes(content)
    with pytest.raises(DatabaseError):
        Database.open(path, migrations=[FIRST])


def test_a_locked_file_is_not_mistaken_for_a_corrupt_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.database._BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "things.db"
    Database.open(path, migrations=[FIRST]).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseError, match="locked"):
        Database.open(path, migrations=[FIRST], set_aside=True)
    other.close()
    assert not list(tmp_path.glob("*corrupt*"))


def test_read_only_sees_what_a_writer_committed_and_writes_nothing(database: Database) -> None:
    reader = Database.open(database.path, migrations=[FIRST], read_only=True)
    database.execute("INSERT INTO things VALUES ('a')")
    assert names(reader) == ["a"]
    with pytest.raises(DatabaseError, match="readonly"):
        reader.execute("DELETE FROM things")
    reader.close()


def test_read_only_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="unable to open"):
        Database.open(tmp_path / "none.db", read_only=True)
    assert not list(tmp_path.iterdir())


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "things.db")
    database.close()
    with pytest.raises(DatabaseError, match="closed"):
        database.execute("SELECT 1")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot be made"):
        Database.open(tmp_path / "file" / "things.db")
