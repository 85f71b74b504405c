from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_node.errors import ConfigurationError, StateInUse
from edge_node.runtime.state_lock import StateLock

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from edge_node.runtime.state_lock import StateLock
lock = StateLock.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_and_its_process_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateInUse, match=f"process {holder.pid}") as caught:
            StateLock.take(folder)
        assert str(folder) in str(caught.value)
        assert caught.value.exit_status == 78
        holder.kill()
    StateLock.take(folder).release()


def test_a_released_folder_can_be_taken_again_and_a_second_release_does_nothing(tmp_path: Path) -> None:
    first = StateLock.take(tmp_path)
    with pytest.raises(StateInUse, match=str(os.getpid())):
        StateLock.take(tmp_path)
    first.release()
    second = StateLock.take(tmp_path)
    first.release()
    with pytest.raises(StateInUse):
        StateLock.take(tmp_path)
    second.release()


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="state"):
        StateLock.take(tmp_path / "file" / "state")
