from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.hall import Hall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    """Give a hall in which one pump was heard."""
    made = Hall(tmp_path)
    made.walk(made.telemetry(rpm=80, c=60, vib=1.0))
    yield made
    made.journal.close()
