from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from edge_node.config.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 60.0


class Plant:
    """A runtime file with one node, watched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "edge-node.yaml"
        self.file.write_text("edge_node: 1\nedge: hall\n")
        self.node = folder / "nodes" / "pump"
        (self.node / "manual").mkdir(parents=True)
        (self.node / "node.yaml").write_text("name: pump\n")
        self._told = threading.Semaphore(0)
        self.watching = Watching(self.file, patterns=["nodes/*"], on_change=self._told.release)

    def tells(self) -> bool:
        """Return whether a change is told."""
        told = self._told.acquire(timeout=DEADLINE_S)
        while self._told.acquire(blocking=False):
            """Changes in quick succession may be told together or one by one."""
        return told

    def silent(self) -> bool:
        return not self._told.acquire(blocking=False)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    made.watching.start()
    yield made
    made.watching.stop()


def test_a_file_that_is_written_replaced_added_or_removed_is_told(plant: Plant) -> None:
    node = plant.node / "node.yaml"
    node.write_text("name: other pump\n")
    assert plant.tells()

    draft = plant.node / "draft"
    draft.write_text("name: a third pump\n")
    assert plant.tells()
    draft.replace(node)
    assert plant.tells()

    (plant.node / "manual" / "pump.md").write_text("# Pump\n")
    assert plant.tells()
    node.unlink()
    assert plant.tells()


def test_a_folder_that_comes_later_is_watched_too(plant: Plant) -> None:
    fan = plant.folder / "nodes" / "fan"
    fan.mkdir()
    (fan / "node.yaml").write_text("name: fan\n")
    assert plant.tells()

    deep = fan / "manual" / "en"
    deep.mkdir(parents=True)
    (deep / "fan.md").write_text("# Fan\n")
    assert plant.tells()
    (deep / "fan.md").write_text("# The fan\n")
    assert plant.tells()


def test_folders_named_by_a_file_that_is_wrong_elsewhere_are_watched(plant: Plant) -> None:
    fan = plant.folder / "more" / "fan"
    fan.mkdir(parents=True)
    plant.file.write_text("edge_node: 1\nedgy: hall\nnodes: [nodes/*, more/*]\n")
    assert plant.tells()

    (fan / "node.yaml").write_text("name: fan\n")
    assert plant.tells()
    plant.file.write_text("edge_node: [\n")
    assert plant.tells()
    (fan / "node.yaml").write_text("name: the fan\n")
    assert plant.tells()


def test_other_and_hidden_files_are_not_told(plant: Plant) -> None:
    (plant.folder / "journal.db").write_text("x")
    (plant.node / ".node.yaml.swp").write_text("x")
    (plant.node / "node.yaml").touch()
    assert plant.tells()  # the file that was touched, once the others have been seen too
    plant.watching.stop()
    assert plant.silent()


def test_what_changed_before_the_start_is_told(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    (plant.node / "node.yaml").write_text("name: changed\n")
    plant.watching.start()
    try:
        assert plant.tells()
    finally:
        plant.watching.stop()
