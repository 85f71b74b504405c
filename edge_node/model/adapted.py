"""The language model as one node sees it: the shared base with that node's adapter.

Knows only how calls are passed on; knows nothing of files or of how an adapter is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_node.messages import Generation, Grammar, Turn
    from edge_node.model.language_model import OnnxLanguageModel


class AdaptedModel:
    """A base model that runs with one adapter; the base and its memory are shared with all others.

    Args:
        base: The model, opened with its adapters.
        adapter: Name that the adapter was given there.
    """

    def __init__(self, base: OnnxLanguageModel, *, adapter: str) -> None:
        self._base = base
        self._adapter = adapter

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._base.context

    def count(self, turns: Sequence[Turn]) -> int:
        """Return how many tokens a prompt has."""
        return self._base.count(turns)

    def prepare(self, system: Turn) -> None:
        """Have the fixed part of chats ready; raises as the base does."""
        self._base.prepare(system, adapter=self._adapter)

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        """Return the greedy continuation that is a sentence of `grammar`; raises as the base does."""
        return self._base.generate(
            turns, grammar=grammar, max_tokens=max_tokens, adapter=self._adapter, check=check
        )
