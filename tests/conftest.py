"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_EVAL = Path(__file__).parents[2] / "shared" / "eval"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need the default models where these are missing; in CI they must be there."""
    from edge_node.paths import models_folder  # noqa: PLC0415 - after pytest has set the import path

    built = models_folder() / "smollm2-135m-instruct" / "onnx" / "manifest.json"
    if os.environ.get("CI") or built.is_file():
        return
    for item in items:
        if "models" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="the default models are missing: make models"))


@pytest.fixture(scope="session")
def shared_eval() -> Path:
    """Return the folder of evaluation data, or skip where the checkout stands alone."""
    if not SHARED_EVAL.is_dir():
        pytest.skip(f"no evaluation data at {SHARED_EVAL}")
    return SHARED_EVAL


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Take back what a command line that ran within the test said about logs, for the whole process."""
    yield
    structlog.reset_defaults()
