"""What the battery needs once: tiny models, a nursery of edges, and the table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.battery.edges import Nursery
from tests.battery.models import make_home
from tests.battery.report import Report
from tests.brokers import require_mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """Give the table that is printed at the end."""
    return pytestconfig.stash.setdefault(_REPORT, Report())


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an EDGE_NODE_HOME with two tiny models."""
    folder = tmp_path_factory.mktemp("battery") / "home"
    make_home(folder)
    return folder


@pytest.fixture(scope="session")
def nursery(home: Path) -> Iterator[Nursery]:
    """Give what starts edges."""
    require_mosquitto()
    nursery = Nursery(home)
    yield nursery
    nursery.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of the battery, and write it where a file is named."""
    table = config.stash.get(_REPORT, None)
    if table is None or not table.lines():
        return
    terminalreporter.section("battery")
    for line in table.lines():
        terminalreporter.write_line(line)
    table.write()
