"""What engines are asked while they are measured: the prompts of a node, in fixed lengths.

Knows turns, grammars and how tokens are counted; knows nothing of engines. Each round asks something
else, so that nothing is left of the round before but what a node would find again: its fixed part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.config.shipped import shipped_folder
from edge_node.messages import Turn
from edge_node.understand.calls import call_grammar
from edge_node.understand.prompts import command_system, question_turns

if TYPE_CHECKING:
    from edge_node.model.tokens import Tokenizer

FRESH_TOKENS = 300
PLAIN_TOKENS = 64
COMMAND_PREFIX_TOKENS = 400
PREFIX_TOKENS = 500
PASSAGES, PASSAGE_TOKENS = 10, 60
_PLAIN_PROMPT_TOKENS = 48
QUOTE_TOKENS = 60
_LONGEST_ANSWER = 128
_TEMPLATE_TOKENS = 16
_PARTS = ("pump", "valve", "fan", "heater", "mixer", "lamp", "belt", "door", "cooler", "gate", "press", "saw")


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, and what may be answered.

    Attributes:
        turns: The chat.
        max_tokens: Tokens to write at most.
        schema: JSON Schema of the answer; empty for any.
        choices: Texts of which the answer is one; empty for any.
    """

    turns: tuple[Turn, ...]
    max_tokens: int
    schema: str = ""
    choices: tuple[str, ...] = ()


class Prompts:
    """Prompts out of the manuals that come along.

    Args:
        tokenizer: Counts their tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        files = sorted(shipped_folder("nodes").rglob("*.md"))
        self._words = " ".join(file.read_text(encoding="utf-8") for file in files).split()
        self._next = 0
        self._node = self._commanding()

    def fresh(self, *, tokens: int, max_tokens: int) -> Asked:
        """Return a prompt of about so many tokens, which shares only its first few with any other."""
        head = Turn("system", str(self._next))
        text = self._text(tokens - self._count([head, Turn("user", "")]))
        return Asked((head, Turn("user", text)), max_tokens)

    def plain(self) -> Asked:
        """Return a short prompt that is gone on from."""
        return self.fresh(tokens=_PLAIN_PROMPT_TOKENS, max_tokens=PLAIN_TOKENS)

    def command(self, round_: int) -> Asked:
        """Return an order to a node whose fixed part is the same each time."""
        name = _PARTS[round_ % len(self._node.spec.commands)]
        device, number = f"{name}-{round_ % 7 + 1}", 10 + 7 * round_ % 89
        order = Turn("user", f"Operator: <<set {device} to {number} percent>>")
        devices = [f"{name}-{place}" for place in range(1, 9)]
        schema = call_grammar(self._node.spec.commands, devices=devices, numbers=[number]).source
        return Asked((command_system(self._node), order), _LONGEST_ANSWER, schema=schema)

    def quote(self) -> Asked:
        """Return a question over passages, of which one is to be quoted, as many tokens of it for all."""
        passages = [self._text(PASSAGE_TOKENS) for _ in range(PASSAGES)]
        subject = " ".join(passages[self._next % PASSAGES].split()[:8])
        choices = tuple(f"[{place}] {passage}" for place, passage in enumerate(passages, start=1))
        turns = question_turns(f"What does the manual say about {subject}?", passages)
        return Asked(tuple(turns), QUOTE_TOKENS, choices=choices)

    def opening(self) -> Turn:
        """Return the fixed part of a node's prompts, one that was never read before."""
        head = f"Part {self._next}. "
        return Turn("system", head + self._text(PREFIX_TOKENS - len(self._tokenizer.encode(head))))

    def over(self, opening: Turn, *, order: int) -> Asked:
        """Return a short order over a fixed part."""
        return Asked((opening, Turn("user", f"Operator: <<slow pump-{order} down to {order} percent>>")), 1)

    def cold(self) -> Asked:
        """Return as many tokens as a fixed part and an order have, to be read all."""
        counted = self._count(self.over(Turn("system", ""), order=10).turns)
        return self.fresh(tokens=PREFIX_TOKENS + counted, max_tokens=1)

    def tokens(self, asked: Asked) -> list[int]:
        """Return the tokens of a prompt, which are the same for every engine."""
        return self._tokenizer.prompt(asked.turns)

    def _count(self, turns: list[Turn] | tuple[Turn, ...]) -> int:
        return len(self._tokenizer.prompt(turns))

    def _text(self, tokens: int) -> str:
        """Return words that were not used before, of at most so many tokens."""
        self._next += 1
        start = self._next * 397 % len(self._words)
        words = (self._words[start:] + self._words)[:tokens]
        while len(self._tokenizer.encode(" ".join(words))) > tokens:
            words.pop()
        return re.sub(r'["\\]', "'", " ".join(words))

    def _commanding(self) -> Node:
        """Return a node with as many commands as its fixed part has room for."""
        for most in range(len(_PARTS), 1, -1):
            node = _node(_PARTS[:most])
            if self._count([command_system(node)]) <= COMMAND_PREFIX_TOKENS + _TEMPLATE_TOKENS:
                break
        return node


def _node(parts: tuple[str, ...]) -> Node:
    commands: dict[str, Any] = {
        f"set_{part}": {
            "description": f"Change how much a {part} does.",
            "args": {
                "device": {"device": True, "description": f"The {part}."},
                "percent": {"type": "integer", "minimum": 0, "maximum": 100, "unit": "percent"},
            },
            "publish": {"topic": "plant/{device}/set", "payload": {"percent": "{percent}"}},
        }
        for part in parts
    }
    spec = {
        "edge_node": 1,
        "name": "bench",
        "description": "Runs the machines of a hall.",
        "listen": [{"topic": "plant/{device}/telemetry", "fields": {"percent": "percent"}}],
        "commands": commands,
    }
    return Node(NodeConfig.model_validate(spec), Path())
