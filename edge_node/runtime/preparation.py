"""Has the fixed parts of prompts ready before anybody asks.

Knows language models and the turns that open chats; knows nothing of nodes or of what is asked.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from edge_node.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import Turn
    from edge_node.protocols import LanguageModel

_log = structlog.get_logger(__name__)


class Preparation:
    """A thread that takes up or reads one beginning after the other; requests come in between.

    Args:
        turns: The turns that open chats, each with the language model that is asked there.
    """

    def __init__(self, turns: Sequence[tuple[LanguageModel, Turn]]) -> None:
        self._turns = tuple(turns)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preparation")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the beginning that is being read, if it was begun at all."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        for model, turn in self._turns:
            if self._stop.is_set():
                return
            try:
                model.prepare(turn)
            except ModelError as error:  # the request that needs it will say so too
                _log.warning("prefix_not_prepared", reason=str(error))
